# As wkd-lf, in less time: the teacher runs for half of the schedule only, and
# without the batch normalisation that its convolutions can take over.
_base_ = './wkd-lf_faster-rcnn_r18-eighth-from-r18-half_fpn_800_minicoco.py'

model = dict(teacher=dict(fuse_conv_bn=True))
custom_hooks = [dict(type='DistillationWeightHook', stop=400, by_epoch=False)]
