# Transport between RoIs (Lohit and Jones) on the maps fed to the box head
roi_loss = dict(type='EMDLoss')
