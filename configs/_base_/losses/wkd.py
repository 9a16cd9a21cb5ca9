# The distillation losses, each in one place. A leaf config picks from them.
# Weights of WKD-F are for maps of 256 channels (docs/results.md).
# WKD-L on RoI class logits
logit_loss = dict(
    type='WKDLogitLoss',
    cost='classifier',
    temperature=2.0,
    gamma=2.5,
    kappa=2.0,
    reg=0.1,
    num_iters=20,
)

# WKD-F on FPN maps
neck_loss = dict(
    type='WKDFeatureLoss',
    covariance='diag',
    grid=8,
    ratio=2.0,
    loss_weight=0.025,
)

# WKD-F on the RoIAlign maps fed to the box head
roi_loss = dict(
    type='WKDFeatureLoss',
    covariance='diag',
    grid=4,
    ratio=2.0,
    loss_weight=0.0075,
)
