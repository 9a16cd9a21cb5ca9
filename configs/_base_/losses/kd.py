# KD (Hinton et al.) on RoI class logits
logit_loss = dict(type='KDLoss', temperature=1.0, loss_weight=1.0)
