_base_ = [
    './faster-rcnn_mobilenetv2_fpn48_700_iconcoco.py',
    '../_base_/teachers/faster-rcnn_mobilenetv2_fpn96_iconcoco.py',
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
