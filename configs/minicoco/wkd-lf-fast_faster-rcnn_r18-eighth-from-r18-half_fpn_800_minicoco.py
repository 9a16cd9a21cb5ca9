# As wkd-lf, in less time: the teacher runs for half of the schedule only.
_base_ = './wkd-lf_faster-rcnn_r18-eighth-from-r18-half_fpn_800_minicoco.py'

custom_hooks = [dict(type='DistillationWeightHook', stop=400, by_epoch=False)]
