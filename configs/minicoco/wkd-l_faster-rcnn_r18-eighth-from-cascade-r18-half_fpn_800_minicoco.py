_base_ = [
    './faster-rcnn_r18-eighth_fpn_800_minicoco.py',
    '../_base_/teachers/cascade-rcnn_r18-half_fpn_minicoco.py',
    '../_base_/losses/wkd.py',
]

student = _base_.model
model = dict(
    _delete_=True,
    type='DetectorDistiller',
    student=student,
    teacher=_base_.teacher,
    logit_loss=_base_.logit_loss,
)
