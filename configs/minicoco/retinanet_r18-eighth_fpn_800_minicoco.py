# The student of the RetinaNet pair: a quarter of its teacher's channels.
_base_ = './retinanet_r18-half_fpn_800_minicoco.py'

model = dict(
    backbone=dict(base_channels=8),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=32),
    bbox_head=dict(in_channels=32, feat_channels=32),
)
