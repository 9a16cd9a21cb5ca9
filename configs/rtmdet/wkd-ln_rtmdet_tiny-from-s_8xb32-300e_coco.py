_base_ = [
    'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
    '../_base_/teachers/rtmdet_s_8xb32-300e_coco.py',
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
# 8 x 32 images; mmdet's config inherits the 16 of other detectors
auto_scale_lr = dict(base_batch_size=256)
