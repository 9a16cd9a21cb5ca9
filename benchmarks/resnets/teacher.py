custom_imports = dict(imports=['mmwkd'])
teacher = dict(
    config='benchmarks/resnets/faster-rcnn_r50_minicoco.py',
    checkpoint='work_dirs/teacher/iter_800.pth',
)
