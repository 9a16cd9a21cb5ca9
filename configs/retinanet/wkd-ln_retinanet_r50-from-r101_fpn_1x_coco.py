_base_ = [
    'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    '../_base_/teachers/retinanet_r101_fpn_2x_coco.py',
    '../_base_/losses/wkd.py',
]

default_hooks = dict(
    checkpoint=dict(type='SafeCheckpointHook'),
    preemption=dict(type='PreemptionHook'),
)
student = _base_.model
model = dict(
    _delete_=True,
    type='DetectorDistiller',
    student=student,
    teacher=_base_.teacher,
    logit_loss=_base_.logit_loss,
    neck_loss=_base_.neck_loss,
)
