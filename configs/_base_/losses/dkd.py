# DKD (Zhao et al.) on class logits
logit_loss = dict(type='DKDLoss')
