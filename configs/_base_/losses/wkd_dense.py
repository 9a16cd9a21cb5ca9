# WKD between dense heads: logits are those of the teacher's confident
# locations, maps those of the neck. The weights are from gradient norms
# (docs/configs.md).
_base_ = './wkd.py'

logit_loss = dict(gamma=5.0, loss_weight=2.0)
neck_loss = dict(grid=4, loss_weight=0.01)
