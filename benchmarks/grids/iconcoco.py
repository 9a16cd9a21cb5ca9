# The main methods on iconcoco, with the losses and weights of minicoco. Before
# it: data and teacher, as docs/results.md lists them.
_pair = 'faster-rcnn_mobilenetv2_fpn48-from-fpn96_700_iconcoco.py'
_methods = ('kd', 'dkd', 'pkd', 'wkd-l', 'wkd-f', 'wkd-f-roi', 'wkd-lf')

dataset = 'iconcoco'
seeds = [0, 1, 2, 3, 4]
teacher = dict(
    config='configs/iconcoco/faster-rcnn_mobilenetv2_fpn96_1500_iconcoco.py',
    checkpoint='work_dirs/faster-rcnn_mobilenetv2_fpn96_1500_iconcoco/'
    'iter_1500.pth',
)
baseline = 'student'
rows = {
    'student': dict(
        config='configs/iconcoco/faster-rcnn_mobilenetv2_fpn48_700_iconcoco.py'
    ),
    **{
        method: dict(config=f'configs/iconcoco/{method}_{_pair}')
        for method in _methods
    },
    'wkd-lf-fast': dict(
        config=f'configs/iconcoco/wkd-lf-fast_{_pair}', num_seeds=3
    ),
    'wkd-f_grid-4': dict(
        config=f'configs/iconcoco/wkd-f_{_pair}',
        cfg_options={
            'model.neck_loss.grid': 4,
            'model.neck_loss.loss_weight': 0.01,
        },
        num_seeds=3,
    ),
    # as long as wkd-lf takes for 700 iterations: 1.55 times the CPU time
    'student_1085': dict(
        config='configs/iconcoco/'
        'faster-rcnn_mobilenetv2_fpn48_700_iconcoco.py',
        cfg_options={
            'train_cfg.max_iters': 1085,
            'train_cfg.val_interval': 217,
            'param_scheduler.1.end': 1085,
        },
        num_seeds=3,
    ),
}
