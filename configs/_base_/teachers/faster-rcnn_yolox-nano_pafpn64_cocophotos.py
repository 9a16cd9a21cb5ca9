# Train it first: tools/train.py with this config.
teacher = dict(
    config='configs/cocophotos/faster-rcnn_yolox-nano_pafpn64_3000_cocophotos.py',
    checkpoint='work_dirs/faster-rcnn_yolox-nano_pafpn64_3000_cocophotos/iter_3000.pth',
)
