# NKD (Yang et al.) on class logits
logit_loss = dict(type='NKDLoss')
