# 25.8 box AP on COCO val2017 at 416 px: the weights of YOLOX's own release
# under the names of mmdet, which has none for this config
teacher = dict(
    config='mmdet::yolox/yolox_nano_8xb8-300e_coco.py',
    checkpoint='data/yolox_nano_coco_mmdet.pth',
)
