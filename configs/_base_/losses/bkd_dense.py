# KD of each category's sigmoid at the teacher's confident locations
logit_loss = dict(type='BinaryKDLoss', temperature=1.0, loss_weight=1.0)
