# CWD (Shu et al.) on FPN maps
neck_loss = dict(type='CWDLoss', temperature=1.0, loss_weight=18.0)

# and on the RoIAlign maps fed to the box head
roi_loss = dict(type='CWDLoss', temperature=1.0, loss_weight=9.0)
