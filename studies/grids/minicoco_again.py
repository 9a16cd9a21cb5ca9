# The nearest rivals with the stop at half on minicoco, beside ours, with the
# teacher of minicoco_again_tuning.py. FitNet has the weight that was best with
# the stop in minicoco_tuning.py.
_base_ = './minicoco_methods.py'
_pair = 'faster-rcnn_r18-eighth-from-r18-half_fpn_800_minicoco.py'
_weight = 'model.roi_loss.loss_weight'

dataset = 'minicoco, second teacher'
seeds = [0, 1, 2]
baseline = 'wkd-lf-fast'
rows = {
    '_delete_': True,
    'wkd-lf-fast_grid-7': dict(
        config=f'configs/minicoco/wkd-lf-fast_{_pair}',
        cfg_options={'model.roi_loss.grid': 7, _weight: 0.07},
    ),
    'fitnet-roi-fast_9': dict(
        config=f'configs/minicoco/fitnet-roi-fast_{_pair}',
        cfg_options={_weight: 9.0},
    ),
    **{
        method: dict(config=f'configs/minicoco/{method}_{_pair}')
        for method in ('wkd-lf-fast', 'cwd-roi-fast')
    },
}
