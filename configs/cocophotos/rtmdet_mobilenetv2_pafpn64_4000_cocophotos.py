# The start of all students: trained alone.
_base_ = [
    '../_base_/models/cocophotos_rtmdet_mobilenetv2_pafpn64.py',
    '../_base_/datasets/cocophotos_detection.py',
    '../_base_/schedules/cocophotos_4000.py',
    '../_base_/minicoco_runtime.py',
]
custom_imports = dict(imports=['mmwkd', 'studies.photographs.bfloat16'])
