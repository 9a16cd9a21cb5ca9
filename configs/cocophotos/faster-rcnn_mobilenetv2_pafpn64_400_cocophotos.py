# Backbone and neck go on from the YOLOX that trained alone, the heads are new.
_base_ = [
    '../_base_/models/cocophotos_faster-rcnn_mobilenetv2_pafpn64.py',
    '../_base_/datasets/cocophotos_detection.py',
    '../_base_/schedules/cocophotos_400.py',
    '../_base_/minicoco_runtime.py',
]
custom_imports = dict(
    imports=[
        'mmwkd',
        'studies.photographs.bfloat16',
        'studies.photographs.inherit',
    ]
)
load_from = 'work_dirs/yolox_mobilenetv2_pafpn64_1000_cocophotos/iter_1000.pth'
