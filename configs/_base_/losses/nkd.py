# NKD (Yang et al.) on RoI class logits
logit_loss = dict(type='NKDLoss', gamma=1.5, temperature=1.0, loss_weight=0.5)
