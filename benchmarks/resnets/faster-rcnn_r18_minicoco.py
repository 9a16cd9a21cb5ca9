# The student: the minicoco detector with COCO's widths, on larger images.
_base_ = '../../configs/minicoco/faster-rcnn_r18-half_fpn_800_minicoco.py'

model = dict(
    backbone=dict(base_channels=64),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=256),
    rpn_head=dict(in_channels=256, feat_channels=256),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=256),
        bbox_head=dict(in_channels=256, fc_out_channels=1024),
    ),
)
train_dataloader = dict(batch_size=16, num_workers=3, persistent_workers=True)
val_dataloader = dict(num_workers=3, persistent_workers=True)
