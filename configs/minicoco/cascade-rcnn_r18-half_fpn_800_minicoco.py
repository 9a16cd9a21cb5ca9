# A teacher with three stages for the student of the minicoco pair.
_base_ = [
    '../_base_/models/minicoco_cascade-rcnn_r18-half.py',
    '../_base_/datasets/minicoco_detection.py',
    '../_base_/schedules/minicoco_800.py',
    '../_base_/minicoco_runtime.py',
]
