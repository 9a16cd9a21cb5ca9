_base_ = [
    './faster-rcnn_r18_fpn_1x_coco.py',
    '../_base_/teachers/faster-rcnn_r101_fpn_2x_coco.py',
    '../_base_/losses/pkd.py',
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
    # the levels that the paper compares
    neck_loss=dict(_base_.neck_loss, levels=(0, 1, 2, 3)),
)
