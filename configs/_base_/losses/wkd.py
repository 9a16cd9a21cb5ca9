# The distillation losses, each in one place. A leaf config picks from them.
# WKD-L on class logits
logit_loss = dict(type='WKDLogitLoss')

# WKD-F on FPN maps
neck_loss = dict(type='WKDFeatureLoss')

# WKD-F on the RoIAlign maps fed to the box head
roi_loss = dict(type='WKDFeatureLoss')
