# For self-distillation: a student trained before, with another seed.
# tools/train.py CONFIG --cfg-options randomness.seed=100
custom_imports = dict(imports=['mmwkd'])
teacher = dict(
    config='configs/minicoco/faster-rcnn_r18-eighth_fpn_800_minicoco.py',
    checkpoint='work_dirs/faster-rcnn_r18-eighth_fpn_800_minicoco/'
    'iter_800.pth',
)
