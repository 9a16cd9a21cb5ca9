# The distillation losses, each in one place. A leaf config picks from them.
# Weights of WKD-F are for maps of 256 channels (docs/results.md).
# WKD-L on RoI class logits
logit_loss = dict(
    type='WKDLogitLoss',
    cost='classifier',
    temperature=4.0,
    gamma=5.0,
    kappa=2.0,
    reg=0.05,
    num_iters=10,
)

# WKD-F on FPN maps
neck_loss = dict(
    type='WKDFeatureLoss',
    covariance='diag',
    grid=4,
    ratio=2.0,
    loss_weight=0.0025,
)

# WKD-F on the RoIAlign maps fed to the box head
roi_loss = dict(
    type='WKDFeatureLoss',
    covariance='diag',
    grid=4,
    ratio=2.0,
    loss_weight=0.0075,
)
