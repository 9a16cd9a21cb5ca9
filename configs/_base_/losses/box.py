# The boxes of foreground RoIs
box_loss = dict(type='BoxDistillationLoss', beta=1.0, loss_weight=1.0)
