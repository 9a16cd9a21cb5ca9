# The distillation losses between dense heads, each in one place.
# WKD-L on class logits at the teacher's confident locations
logit_loss = dict(
    type='WKDLogitLoss',
    cost='classifier',
    temperature=2.0,
    gamma=5.0,
    kappa=2.0,
    reg=0.1,
    num_iters=20,
    loss_weight=2.0,
)

# WKD-F on FPN maps
neck_loss = dict(
    type='WKDFeatureLoss',
    covariance='diag',
    grid=4,
    ratio=2.0,
    loss_weight=0.01,
)
