# As fitnet-roi, with the stop and the teacher of wkd-lf-fast.
_base_ = [
    './fitnet-roi_faster-rcnn_r18-eighth-from-r18-half_fpn_800_minicoco.py'
]

model = dict(teacher=dict(fuse_conv_bn=True))
custom_hooks = [dict(type='DistillationWeightHook', stop=400, by_epoch=False)]
