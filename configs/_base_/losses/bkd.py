# KD of each category's sigmoid
logit_loss = dict(type='BinaryKDLoss')
