# Distil for the first half of minicoco_800.py, then train alone.
custom_hooks = [dict(type='DistillationWeightHook', stop=400, by_epoch=False)]
