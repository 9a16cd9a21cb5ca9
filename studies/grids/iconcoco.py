# The main methods on iconcoco, and with three seeds what comes near, with
# the losses and weights of minicoco. Before it: data and teacher, as
# docs/results.md lists them.
_student = 'configs/iconcoco/faster-rcnn_mobilenetv2_fpn48_700_iconcoco.py'
_pair = 'faster-rcnn_mobilenetv2_fpn48-from-fpn96_700_iconcoco.py'
_methods = ('kd', 'dkd', 'pkd', 'wkd-l', 'wkd-f', 'wkd-f-roi', 'wkd-lf')
_beside = ('wkd-lf-fast', 'cwd-roi', 'fitnet-roi', 'pkd-roi')

dataset = 'iconcoco'
seeds = [0, 1, 2, 3, 4]
teacher = dict(
    config='configs/iconcoco/faster-rcnn_mobilenetv2_fpn96_1500_iconcoco.py',
    checkpoint='work_dirs/faster-rcnn_mobilenetv2_fpn96_1500_iconcoco/'
    'iter_1500.pth',
)
baseline = 'student'
rows = {
    'student': dict(config=_student),
    **{
        method: dict(config=f'configs/iconcoco/{method}_{_pair}')
        for method in _methods
    },
    **{
        method: dict(config=f'configs/iconcoco/{method}_{_pair}', num_seeds=3)
        for method in _beside
    },
    'wkd-f_grid-4': dict(
        config=f'configs/iconcoco/wkd-f_{_pair}',
        cfg_options={
            'model.neck_loss.grid': 4,
            'model.neck_loss.loss_weight': 0.01,
        },
        num_seeds=3,
    ),
    # as long as wkd-lf-fast and wkd-lf take for 700 iterations: 1.3 and 1.55
    # times the CPU time
    **{
        f'student_{iterations}': dict(
            config=_student,
            cfg_options={
                'train_cfg.max_iters': iterations,
                'train_cfg.val_interval': iterations // 5,
                'param_scheduler.1.end': iterations,
            },
            num_seeds=3,
        )
        for iterations in (910, 1085)
    },
}
