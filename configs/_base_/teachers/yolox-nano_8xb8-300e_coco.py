# Weights of a YOLOX-nano trained on COCO train2017, which mmdet does not have:
# train it with this config, or rename those of YOLOX's own release
teacher = dict(
    config='mmdet::yolox/yolox_nano_8xb8-300e_coco.py',
    checkpoint='data/yolox_nano_coco_mmdet.pth',
)
