# What the stop at half asks of the losses on RoIAlign maps, with another
# teacher: that of minicoco_methods.py trained anew, on another kind of CPU, so
# that its weights differ.
_base_ = './minicoco_tuning.py'
_weight = 'model.roi_loss.loss_weight'
_wkd_lf = dict(losses='wkd_small', places=['logit', 'roi'])
_bases = ['configs/_base_/schedules/minicoco_stop-400.py']
_fuse = {'model.teacher.fuse_conv_bn': True}

dataset = 'minicoco, tuning split, second teacher'
seeds = [10]
baseline = 'wkd-lf-fast'
rows = {
    '_delete_': True,
    'wkd-lf-fast': dict(**_wkd_lf, bases=_bases, cfg_options=_fuse),
    'wkd-lf-fast-grid-7_0.07': dict(
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
}
