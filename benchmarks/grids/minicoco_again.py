# The nearest rivals with the stop at half on minicoco, beside ours, with the
# teacher of minicoco_again_tuning.py. FitNet has the weight that was best with
# the stop in minicoco_tuning.py.
_pair = 'faster-rcnn_r18-eighth-from-r18-half_fpn_800_minicoco.py'
_weight = 'model.roi_loss.loss_weight'

dataset = 'minicoco, second teacher'
seeds = [0, 1, 2]
teacher = dict(
    config='configs/minicoco/faster-rcnn_r18-half_fpn_800_minicoco.py',
    checkpoint='work_dirs/minicoco_teacher/iter_800.pth',
)
cfg_options = {'model.teacher.checkpoint': teacher['checkpoint']}
baseline = 'wkd-lf-fast'
rows = {
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
