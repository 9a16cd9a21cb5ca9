# Train it first: tools/train.py with this config, or `make demo`.
custom_imports = dict(imports=['mmwkd'])
teacher = dict(
    config='configs/minicoco/faster-rcnn_r18-half_fpn_800_minicoco.py',
    checkpoint='work_dirs/faster-rcnn_r18-half_fpn_800_minicoco/iter_800.pth',
)
