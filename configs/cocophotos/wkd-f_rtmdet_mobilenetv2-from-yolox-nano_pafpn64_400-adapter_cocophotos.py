# With a convolution between the student's maps and the teacher's, although
# both have 64 channels: this student has maps of its own from the start.
_base_ = [
    './rtmdet_mobilenetv2_pafpn64_400_cocophotos.py',
    '../_base_/teachers/yolox-nano_8xb8-300e_coco.py',
    '../_base_/losses/wkd.py',
]

student = _base_.model
model = dict(
    _delete_=True,
    type='DetectorDistiller',
    student=student,
    teacher=_base_.teacher,
    neck_loss=_base_.neck_loss,
    neck_adapter=dict(kernel_size=1),
)
