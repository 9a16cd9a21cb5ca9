# Faster R-CNN with MobileNetV2 for 256 px images: the student of the YOLOX
# (cocophotos_yolox_mobilenetv2_pafpn64.py) with the heads of Faster R-CNN.
_base_ = './cocophotos_faster-rcnn_yolox-nano.py'

model = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        out_indices=(2, 4, 6),
        frozen_stages=3,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        init_cfg=dict(
            type='Pretrained', checkpoint='data/mobilenetv2_imagenet.pth'
        ),
    ),
    neck=[
        dict(
            type='ConvPerMap',
            in_channels=[32, 96, 320],
            out_channels=[64, 128, 256],
        ),
        dict(
            type='YOLOXPAFPN',
            in_channels=[64, 128, 256],
            out_channels=64,
            num_csp_blocks=1,
            use_depthwise=True,
            norm_cfg=dict(type='FixedStatisticsBN', momentum=0.03, eps=0.001),
        ),
    ],
)
