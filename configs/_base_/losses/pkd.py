# PKD (Cao et al.) on FPN maps
neck_loss = dict(type='PKDLoss', loss_weight=5.0)

# and on the RoIAlign maps fed to the box head
roi_loss = dict(type='PKDLoss', loss_weight=4.0)
