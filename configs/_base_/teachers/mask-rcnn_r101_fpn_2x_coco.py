# 40.8 box AP, 36.6 mask AP on COCO val2017 (OpenMMLab model zoo)
teacher = dict(
    config='mmdet::mask_rcnn/mask-rcnn_r101_fpn_2x_coco.py',
    checkpoint='https://download.openmmlab.com/mmdetection/v2.0/mask_rcnn/'
    'mask_rcnn_r101_fpn_2x_coco/'
    'mask_rcnn_r101_fpn_2x_coco_bbox_mAP-0.408__segm_mAP-0.366_'
    '20200505_071027-14b391c7.pth',
)
custom_imports = dict(imports=['mmwkd'])
