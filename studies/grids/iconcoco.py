# The main methods on iconcoco, and with three seeds what comes near. Before
# it: data and teacher, as docs/results_drawn.md lists them.
dataset = 'iconcoco'
seeds = [0, 1, 2, 3, 4]
pair = dict(
    student='configs/iconcoco/faster-rcnn_mobilenetv2_fpn48_700_iconcoco.py',
    teacher='configs/_base_/teachers/'
    'faster-rcnn_mobilenetv2_fpn96_iconcoco.py',
)
teacher = dict(
    config='configs/iconcoco/faster-rcnn_mobilenetv2_fpn96_1500_iconcoco.py',
    checkpoint='work_dirs/faster-rcnn_mobilenetv2_fpn96_1500_iconcoco/'
    'iter_1500.pth',
)
# in less time: the teacher runs for half of the schedule
_fast = dict(bases=['configs/_base_/schedules/iconcoco_stop-350.py'])
_wkd_lf = dict(losses='wkd', places=['logit', 'roi'])

baseline = 'student'
rows = {
    'student': dict(config=pair['student']),
    'kd': dict(losses='kd'),
    'dkd': dict(losses='dkd'),
    'pkd': dict(losses='pkd', places=['neck']),
    'wkd-l': dict(losses='wkd', places=['logit']),
    'wkd-f': dict(losses='wkd', places=['neck']),
    'wkd-f-roi': dict(losses='wkd', places=['roi']),
    'wkd-lf': _wkd_lf,
    'wkd-lf-fast': dict(**_wkd_lf, **_fast, num_seeds=3),
    **{
        f'{method}-roi': dict(losses=method, places=['roi'], num_seeds=3)
        for method in ('cwd', 'fitnet', 'pkd')
    },
    'wkd-f_grid-4': dict(
        losses='wkd',
        places=['neck'],
        cfg_options={'model.neck_loss.grid': 4},
        num_seeds=3,
    ),
    # as long as wkd-lf-fast and wkd-lf take for 700 iterations: 1.3 and 1.55
    # times the CPU time
    **{
        f'student_{iterations}': dict(
            config=pair['student'],
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
