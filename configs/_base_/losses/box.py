# The boxes of foreground RoIs
box_loss = dict(type='BoxDistillationLoss')
