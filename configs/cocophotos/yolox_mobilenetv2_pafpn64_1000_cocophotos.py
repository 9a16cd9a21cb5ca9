# The student alone: it inherits neck and head, its backbone is of ImageNet.
_base_ = [
    '../_base_/models/cocophotos_yolox_mobilenetv2_pafpn64.py',
    '../_base_/datasets/cocophotos_detection.py',
    '../_base_/schedules/cocophotos_1000.py',
    '../_base_/minicoco_runtime.py',
]
custom_imports = dict(
    imports=[
        'mmwkd',
        'studies.photographs.bfloat16',
        'studies.photographs.inherit',
    ]
)
