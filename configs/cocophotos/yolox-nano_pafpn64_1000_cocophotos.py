# The teacher, for its test on images of 256 px. It comes trained.
_base_ = [
    '../_base_/models/cocophotos_yolox-nano.py',
    '../_base_/datasets/cocophotos_detection.py',
    '../_base_/schedules/cocophotos_1000.py',
    '../_base_/minicoco_runtime.py',
]
custom_imports = dict(imports=['mmwkd', 'studies.photographs.bfloat16'])
