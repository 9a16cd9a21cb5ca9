# The student of the iconcoco pair: half of its teacher's channels after the
# backbone and half of its iterations. The first stages, to stride 4, stay as
# ImageNet left them, which mmdet's ResNets do too.
_base_ = [
    '../_base_/models/iconcoco_faster-rcnn_mobilenetv2_fpn96.py',
    '../_base_/datasets/iconcoco_detection.py',
    '../_base_/schedules/iconcoco_700.py',
    '../_base_/minicoco_runtime.py',
]

model = dict(
    backbone=dict(frozen_stages=2),
    neck=dict(out_channels=48),
    rpn_head=dict(in_channels=48, feat_channels=48),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=48),
        bbox_head=dict(in_channels=48, fc_out_channels=256),
    ),
)
