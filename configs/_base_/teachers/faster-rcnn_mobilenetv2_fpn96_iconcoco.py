# Train it first: tools/train.py with this config.
custom_imports = dict(imports=['mmwkd'])
teacher = dict(
    config='configs/iconcoco/faster-rcnn_mobilenetv2_fpn96_1500_iconcoco.py',
    checkpoint='work_dirs/faster-rcnn_mobilenetv2_fpn96_1500_iconcoco/'
    'iter_1500.pth',
)
