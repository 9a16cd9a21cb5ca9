_base_ = [
    './yolox_mobilenetv2_pafpn64_1000_cocophotos.py',
    '../_base_/teachers/yolox-nano_8xb8-300e_coco.py',
    '../_base_/losses/wkd.py',
]

student = _base_.model
model = dict(
    _delete_=True,
    type='DetectorDistiller',
    student=student,
    teacher=_base_.teacher,
    logit_loss=_base_.logit_loss,
    neck_loss=_base_.neck_loss,
)
