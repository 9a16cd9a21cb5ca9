# WKD for the FPNs of minicoco and iconcoco, of 64 and 96 channels. WKD-F sums
# over channels, so its weights are those of 256 channels times four.
_base_ = './wkd.py'

neck_loss = dict(loss_weight=0.1)
roi_loss = dict(loss_weight=0.03)
