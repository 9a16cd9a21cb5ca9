_base_ = [
    'mmdet::deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
    '../_base_/teachers/dino-4scale_r50_8xb2-12e_coco.py',
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
