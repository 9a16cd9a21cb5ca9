# The first iterations of a student, which all rows have in common.
_base_ = [
    '../_base_/models/cocophotos_faster-rcnn_inheriting.py',
    '../_base_/datasets/cocophotos_detection.py',
    '../_base_/schedules/cocophotos_1000.py',
    '../_base_/minicoco_runtime.py',
]
custom_imports = dict(imports=['mmwkd', 'studies.photographs.inherit'])
# in bfloat16 an RPN's suppression of duplicates does not run
optim_wrapper = dict(type='OptimWrapper')
