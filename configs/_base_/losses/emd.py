# Transport between RoIs (Lohit and Jones) on the maps fed to the box head
roi_loss = dict(type='EMDLoss', reg=0.1, num_iters=10, loss_weight=0.1)
