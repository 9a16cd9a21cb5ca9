# CWD (Shu et al.) on FPN maps
neck_loss = dict(type='CWDLoss')

# and on the RoIAlign maps fed to the box head
roi_loss = dict(type='CWDLoss')
