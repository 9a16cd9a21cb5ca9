# Train it first: tools/train.py with this config.
custom_imports = dict(imports=['mmwkd'])
teacher = dict(
    config='configs/minicoco/retinanet_r18-half_fpn_800_minicoco.py',
    checkpoint='work_dirs/retinanet_r18-half_fpn_800_minicoco/iter_800.pth',
)
