# KD of each category's yes-or-no decision, for dense heads
logit_loss = dict(type='BinaryKDLoss', temperature=1.0, loss_weight=1.0)
