_base_ = [
    'mmdet::gfl/gfl_r50_fpn_1x_coco.py',
    '../_base_/teachers/mask-rcnn_r101_fpn_2x_coco.py',
    '../_base_/losses/wkd.py',
]

custom_imports = dict(imports=['mmwkd'])
default_hooks = dict(checkpoint=dict(type='SafeCheckpointHook'))
student = _base_.model
model = dict(
    _delete_=True,
    type='DetectorDistiller',
    student=student,
    teacher=_base_.teacher,
    logit_loss=_base_.logit_loss,
    neck_loss=_base_.neck_loss,
)
