# Distil for the first half of cocophotos_1000.py, then train alone.
custom_hooks = [dict(type='DistillationWeightHook', stop=500, by_epoch=False)]
