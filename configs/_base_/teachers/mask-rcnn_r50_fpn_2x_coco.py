# 39.2 box AP, 35.4 mask AP on COCO val2017 (OpenMMLab model zoo)
teacher = dict(
    config='mmdet::mask_rcnn/mask-rcnn_r50_fpn_2x_coco.py',
    checkpoint='https://download.openmmlab.com/mmdetection/v2.0/mask_rcnn/'
    'mask_rcnn_r50_fpn_2x_coco/'
    'mask_rcnn_r50_fpn_2x_coco_bbox_mAP-0.392__segm_mAP-0.354_'
    '20200505_003907-3e542a40.pth',
)
custom_imports = dict(imports=['mmwkd'])
