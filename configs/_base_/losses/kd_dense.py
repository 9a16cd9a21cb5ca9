# KD (Hinton et al.) at the teacher's confident locations
logit_loss = dict(type='KDLoss', temperature=1.0, loss_weight=5.0)
