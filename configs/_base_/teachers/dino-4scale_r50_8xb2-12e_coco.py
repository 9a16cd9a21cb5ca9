# 49.0 box AP on COCO val2017 (OpenMMLab model zoo)
teacher = dict(
    config='mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py',
    checkpoint='https://download.openmmlab.com/mmdetection/v3.0/dino/'
    'dino-4scale_r50_8xb2-12e_coco/'
    'dino-4scale_r50_8xb2-12e_coco_20221202_182705-55b2bba2.pth',
)
