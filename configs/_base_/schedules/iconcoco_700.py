# 700 iterations of batch 8: about ten minutes on one CPU core
_base_ = './iconcoco_1500.py'

max_iters = 700
train_cfg = dict(max_iters=max_iters, val_interval=175)
param_scheduler = _base_.param_scheduler
param_scheduler[-1].update(end=max_iters)
