# Faster R-CNN on the backbone and the neck of a YOLOX-nano of COCO, which stay
# as they are: their maps already tell COCO's classes apart, so the photographs
# have only the heads to teach.
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'

model = dict(
    data_preprocessor=dict(
        _delete_=True, type='DetDataPreprocessor', pad_size_divisor=32
    ),
    backbone=dict(
        _delete_=True,
        type='CSPDarknet',
        deepen_factor=0.33,
        widen_factor=0.25,
        use_depthwise=True,
        frozen_stages=4,
        norm_eval=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='data/yolox_nano_coco_mmdet.pth',
            prefix='backbone.',
        ),
    ),
    neck=dict(
        _delete_=True,
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
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(scales=[4], strides=[8, 16, 32]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(
            out_channels=64, finest_scale=28, featmap_strides=[8, 16, 32]
        ),
        bbox_head=dict(
            in_channels=64, fc_out_channels=512, reg_class_agnostic=True
        ),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=128)),
        rpn_proposal=dict(nms_pre=400, max_per_img=200),
        rcnn=dict(sampler=dict(num=64)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=400, max_per_img=200)),
)
