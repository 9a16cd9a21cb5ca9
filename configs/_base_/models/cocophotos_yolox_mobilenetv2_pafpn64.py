# YOLOX with MobileNetV2 for 256 px images. The neck and the head start as the
# teacher's, but for the biases of scores, and the backbone as ImageNet left
# it: its stages to stride 8 stay so. A new convolution per map is between.
# `python tools/make_iconcoco.py --pretrained data/mobilenetv2_imagenet.pth`
# fetches the ImageNet weights.
_base_ = './cocophotos_yolox-nano.py'

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
            init_cfg=dict(
                type='Pretrained',
                checkpoint='data/yolox_nano_coco_mmdet.pth',
                prefix='neck.',
            ),
        ),
    ],
    bbox_head=dict(
        norm_cfg=dict(type='FixedStatisticsBN', momentum=0.03, eps=0.001),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='data/yolox_nano_coco_mmdet.pth',
            prefix='bbox_head.',
        ),
    ),
)
