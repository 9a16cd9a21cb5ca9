_base_ = './faster-rcnn_r18_minicoco.py'

model = dict(
    backbone=dict(depth=50), neck=dict(in_channels=[256, 512, 1024, 2048])
)
