# A student whose neck starts as the teacher's, and its heads as they were
# after 1200 of 3000 iterations: with those of the end, losses start higher.
_base_ = './cocophotos_faster-rcnn_mobilenetv2_pafpn64.py'

_base_.model.neck[1].update(
    init_cfg=dict(
        type='Pretrained',
        checkpoint='work_dirs/faster-rcnn_yolox-nano_pafpn64_3000_cocophotos/'
        'iter_1200.pth',
        prefix='neck.',
    )
)
model = dict(
    rpn_head=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/faster-rcnn_yolox-nano_pafpn64_3000_cocophotos/'
            'iter_1200.pth',
            prefix='rpn_head.',
        )
    ),
    roi_head=dict(
        bbox_head=dict(
            init_cfg=dict(
                type='Pretrained',
                checkpoint='work_dirs/faster-rcnn_yolox-nano_pafpn64_3000_cocophotos/'
                'iter_1200.pth',
                prefix='roi_head.bbox_head.',
            )
        )
    ),
)
