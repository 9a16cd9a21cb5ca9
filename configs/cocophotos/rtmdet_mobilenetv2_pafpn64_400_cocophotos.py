# The student alone, from the same start as the students that are distilled.
_base_ = [
    '../_base_/models/cocophotos_rtmdet_mobilenetv2_pafpn64.py',
    '../_base_/datasets/cocophotos_detection.py',
    '../_base_/schedules/cocophotos_400.py',
    '../_base_/minicoco_runtime.py',
]
custom_imports = dict(imports=['mmwkd', 'studies.photographs.bfloat16'])
load_from = (
    'work_dirs/rtmdet_mobilenetv2_pafpn64_4000_cocophotos/iter_4000.pth'
)
