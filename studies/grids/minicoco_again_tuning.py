# What the stop at half asks of the losses on RoIAlign maps, with another
# teacher: that of minicoco_methods.py trained anew, on another kind of CPU, so
# that its weights differ.
_base_ = './minicoco_tuning.py'
_pair = 'faster-rcnn_r18-eighth-from-r18-half_fpn_800_minicoco.py'
_weight = 'model.roi_loss.loss_weight'

dataset = 'minicoco, tuning split, second teacher'
seeds = [10]
baseline = 'wkd-lf-fast'
rows = {
    '_delete_': True,
    'wkd-lf-fast': dict(config=f'configs/minicoco/wkd-lf-fast_{_pair}'),
    'wkd-lf-fast-grid-7_0.07': dict(
        config=f'configs/minicoco/wkd-lf-fast_{_pair}',
        cfg_options={'model.roi_loss.grid': 7, _weight: 0.07},
    ),
    'fitnet-roi-fast_9': dict(
        config=f'configs/minicoco/fitnet-roi-fast_{_pair}',
        cfg_options={_weight: 9.0},
    ),
}
