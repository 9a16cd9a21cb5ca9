# Faster R-CNN with MobileNetV2 and a narrow FPN, for 160 px images.
# `python tools/make_iconcoco.py --pretrained data/mobilenetv2_imagenet.pth`
# fetches the ImageNet weights.
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        out_indices=(1, 2, 4, 6),
        frozen_stages=0,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        init_cfg=dict(
            type='Pretrained', checkpoint='data/mobilenetv2_imagenet.pth'
        ),
    ),
    neck=dict(in_channels=[24, 32, 96, 320], out_channels=96, num_outs=4),
    rpn_head=dict(
        in_channels=96,
        feat_channels=96,
        anchor_generator=dict(scales=[4], strides=[4, 8, 16, 32]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(
            out_channels=96, finest_scale=14, featmap_strides=[4, 8, 16, 32]
        ),
        bbox_head=dict(in_channels=96, fc_out_channels=512, num_classes=65),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=200, max_per_img=100),
        rcnn=dict(sampler=dict(num=64)),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=200, max_per_img=100), rcnn=dict(max_per_img=50)
    ),
)
