_base_ = './wkd-lf_faster-rcnn_r18-eighth-from-r18-half_fpn_800_minicoco.py'

model = dict(neck_loss=_base_.neck_loss)
