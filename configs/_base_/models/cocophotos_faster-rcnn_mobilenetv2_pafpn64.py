# Faster R-CNN behind the backbone and the neck of the YOLOX with MobileNetV2,
# for 256 px images.
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'

_norm = dict(type='FixedStatisticsBN', momentum=0.03, eps=0.001)
model = dict(
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        out_indices=(2, 4, 6),
        frozen_stages=3,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
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
            norm_cfg=_norm,
        ),
    ],
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(scales=[4], strides=[8, 16, 32]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(
            out_channels=64, finest_scale=28, featmap_strides=[8, 16, 32]
        ),
        bbox_head=dict(in_channels=64, fc_out_channels=512),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=200, max_per_img=100),
        rcnn=dict(sampler=dict(num=64)),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=200, max_per_img=100), rcnn=dict(max_per_img=100)
    ),
)
