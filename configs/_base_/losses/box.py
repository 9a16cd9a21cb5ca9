# The boxes of foreground RoIs, of dense locations or of matched predictions
box_loss = dict(type='BoxDistillationLoss')
