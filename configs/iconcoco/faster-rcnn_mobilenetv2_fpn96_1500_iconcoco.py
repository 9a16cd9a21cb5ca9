# The teacher of the iconcoco pair.
_base_ = [
    '../_base_/models/iconcoco_faster-rcnn_mobilenetv2_fpn96.py',
    '../_base_/datasets/iconcoco_detection.py',
    '../_base_/schedules/iconcoco_1500.py',
    '../_base_/minicoco_runtime.py',
]
