# A student of RetinaNet's channels whose anchors are others.
_base_ = [
    '../_base_/models/minicoco_atss_r18-eighth.py',
    '../_base_/datasets/minicoco_detection.py',
    '../_base_/schedules/minicoco_800.py',
    '../_base_/minicoco_runtime.py',
]
