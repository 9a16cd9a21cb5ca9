# The nearest rivals with the stop at half on minicoco, beside ours, with the
# teacher of minicoco_again_tuning.py. FitNet has the weight that was best with
# the stop in minicoco_tuning.py.
_base_ = './minicoco_methods.py'
_weight = 'model.roi_loss.loss_weight'
_wkd_lf = dict(losses='wkd_small', places=['logit', 'roi'])
_bases = ['configs/_base_/schedules/minicoco_stop-400.py']
_fuse = {'model.teacher.fuse_conv_bn': True}

dataset = 'minicoco, second teacher'
seeds = [0, 1, 2]
baseline = 'wkd-lf-fast'
rows = {
    '_delete_': True,
    'wkd-lf-fast_grid-7': dict(
        **_wkd_lf,
        bases=_bases,
        cfg_options={**_fuse, 'model.roi_loss.grid': 7, _weight: 0.07},
    ),
    'fitnet-roi-fast_9': dict(
        losses='fitnet',
        places=['roi'],
        bases=_bases,
        cfg_options={**_fuse, _weight: 9.0},
    ),
    'wkd-lf-fast': dict(**_wkd_lf, bases=_bases, cfg_options=_fuse),
    'cwd-roi-fast': dict(
        losses='cwd', places=['roi'], bases=_bases, cfg_options=_fuse
    ),
}
