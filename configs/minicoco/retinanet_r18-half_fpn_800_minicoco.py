# The teacher of the RetinaNet pair, and its own baseline.
_base_ = [
    '../_base_/models/minicoco_retinanet_r18-half.py',
    '../_base_/datasets/minicoco_detection.py',
    '../_base_/schedules/minicoco_800.py',
    '../_base_/minicoco_runtime.py',
]
