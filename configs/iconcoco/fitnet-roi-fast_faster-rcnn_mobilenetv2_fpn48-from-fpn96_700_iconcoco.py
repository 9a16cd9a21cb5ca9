# As fitnet-roi, with the stop and the teacher of wkd-lf-fast.
_base_ = (
    './fitnet-roi_faster-rcnn_mobilenetv2_fpn48-from-fpn96_700_iconcoco.py'
)

model = dict(teacher=dict(fuse_conv_bn=True))
custom_hooks = [dict(type='DistillationWeightHook', stop=350, by_epoch=False)]
