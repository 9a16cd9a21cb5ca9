# Distil for the first half of iconcoco_700.py, then train alone.
custom_hooks = [dict(type='DistillationWeightHook', stop=350, by_epoch=False)]
