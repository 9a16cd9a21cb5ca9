# The first iterations of a student, which all rows have in common. Its neck
# starts as the teacher's, its heads as the teacher's were after 1200 of 3000
# iterations: those of the end are too sure of the maps that they know, and a
# student that starts with them has 0.1 AP after 1000 iterations.
_base_ = './faster-rcnn_mobilenetv2_pafpn64_1000-more_cocophotos.py'

_inherited = dict(
    type='Pretrained',
    checkpoint='work_dirs/faster-rcnn_yolox-nano_pafpn64_3000_cocophotos/'
    'iter_1200.pth',
)
_base_.model.neck[1].update(init_cfg=dict(_inherited, prefix='neck.'))
model = dict(
    init_cfg=None,
    rpn_head=dict(init_cfg=dict(_inherited, prefix='rpn_head.')),
    roi_head=dict(
        bbox_head=dict(init_cfg=dict(_inherited, prefix='roi_head.bbox_head.'))
    ),
)
