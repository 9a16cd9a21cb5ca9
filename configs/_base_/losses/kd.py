# KD (Hinton et al.) on class logits
logit_loss = dict(type='KDLoss')
