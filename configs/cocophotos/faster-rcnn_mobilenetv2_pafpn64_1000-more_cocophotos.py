# The student alone, from where its first 1000 iterations left it.
_base_ = [
    '../_base_/models/cocophotos_faster-rcnn_mobilenetv2_pafpn64.py',
    '../_base_/datasets/cocophotos_detection.py',
    '../_base_/schedules/cocophotos_1000.py',
    '../_base_/minicoco_runtime.py',
]
custom_imports = dict(imports=['mmwkd', 'studies.photographs.inherit'])
model = dict(
    init_cfg=dict(
        type='Pretrained',
        checkpoint='work_dirs/faster-rcnn_mobilenetv2_pafpn64_1000_cocophotos/'
        'iter_1000.pth',
    )
)
# in bfloat16 an RPN's suppression of duplicates does not run
optim_wrapper = dict(type='OptimWrapper')
