# With a convolution between the student's maps and the teacher's, although
# both have 64 channels: this student has maps of its own from the start.
_base_ = (
    './wkd-ln_rtmdet_mobilenetv2-from-yolox-nano_pafpn64_400_cocophotos.py'
)

model = dict(neck_adapter=dict(act_cfg=None))
