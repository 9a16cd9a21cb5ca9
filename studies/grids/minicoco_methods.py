# What each method is worth on minicoco, in three parts: the main methods and
# the nearest rivals with five seeds, the other rivals and the variants of WKD
# with three. Before it: data and teachers, as docs/results_drawn.md lists
# them.
pair = dict(
    student='configs/minicoco/faster-rcnn_r18-eighth_fpn_800_minicoco.py',
    teacher='configs/_base_/teachers/faster-rcnn_r18-half_fpn_minicoco.py',
)
_wkd_lf = dict(losses='wkd', places=['logit', 'roi'])
# in less time: the teacher runs for half of the schedule
_fast = dict(bases=['configs/_base_/schedules/minicoco_stop-400.py'])
_main = {
    'kd': dict(losses='kd'),
    'dkd': dict(losses='dkd'),
    'pkd': dict(losses='pkd', places=['neck']),
    'wkd-l': dict(losses='wkd', places=['logit']),
    'wkd-f': dict(losses='wkd', places=['neck']),
    'wkd-f-roi': dict(losses='wkd', places=['roi']),
    'wkd-lf': _wkd_lf,
    'wkd-lf-fast': dict(**_wkd_lf, **_fast),
    # the rivals that come near, and the same with the stop of wkd-lf-fast
    'cwd-roi': dict(losses='cwd', places=['roi']),
    'fitnet-roi': dict(losses='fitnet', places=['roi']),
    'pkd-roi': dict(losses='pkd', places=['roi']),
    'cwd-roi-fast': dict(losses='cwd', places=['roi'], **_fast),
    'fitnet-roi-fast': dict(losses='fitnet', places=['roi'], **_fast),
    'pkd-roi-fast': dict(losses='pkd', places=['roi'], **_fast),
}
_rivals = {
    'kd-pkd-roi': dict(losses=['kd', 'pkd'], places=['logit', 'roi']),
    'fitnet': dict(losses='fitnet', places=['neck']),
    'cwd': dict(losses='cwd', places=['neck']),
}
_variants = {  # row: (method, what is changed)
    'wkd-l_whole': ('wkd-l', {'model.logit_loss.separate_target': False}),
    **{
        f'wkd-l_background-{weight}': (
            'wkd-l',
            {'model.logit_loss.background_weight': weight},
        )
        for weight in (0, 0.3)
    },
    'wkd-f-roi_background-0': (
        'wkd-f-roi',
        {'model.roi_loss.background_weight': 0.0},
    ),
    'wkd-f_grid-4': ('wkd-f', {'model.neck_loss.grid': 4}),
    **{
        f'wkd-f-roi_grid-{grid}': ('wkd-f-roi', {'model.roi_loss.grid': grid})
        for grid in (1, 2, 7)
    },
    'wkd-f-roi_full': (
        'wkd-f-roi',
        {'model.roi_loss.covariance': 'full', 'model.roi_loss.grid': 1},
    ),
}


def _iterations(number):
    return {
        'train_cfg.max_iters': number,
        'train_cfg.val_interval': number // 4,
        'param_scheduler.1.end': number,
    }


# the same teacher after three times as many iterations
_better_teacher = {
    'model.teacher.checkpoint': 'work_dirs/minicoco_teacher_2400/iter_2400.pth'
}

dataset = 'minicoco'
seeds = [0, 1, 2, 3, 4]
teacher = dict(
    config='configs/minicoco/faster-rcnn_r18-half_fpn_800_minicoco.py',
    checkpoint='work_dirs/minicoco_teacher/iter_800.pth',
)
baseline = 'student'
cfg_options = {'model.teacher.checkpoint': teacher['checkpoint']}
rows = {
    'student': dict(config=pair['student']),
    **_main,
    # as long as wkd-lf-fast takes for 800 iterations: 1.4 times the CPU time
    'student_1120': dict(
        config=pair['student'], cfg_options=_iterations(1120)
    ),
    # and wkd-lf: 1.7 times
    'student_1360': dict(
        config=pair['student'], cfg_options=_iterations(1360), num_seeds=3
    ),
    **{
        method: dict(**content, num_seeds=3)
        for method, content in _rivals.items()
    },
    **{
        row: dict(**_main[method], cfg_options=changes, num_seeds=3)
        for row, (method, changes) in _variants.items()
    },
    **{
        f'{method}_teacher-2400': dict(
            **_main[method], cfg_options=_better_teacher, num_seeds=3
        )
        for method in ('kd', 'pkd-roi', 'wkd-lf')
    },
    'wkd-lf-fast_teacher-2400': dict(
        **_wkd_lf,
        **_fast,
        cfg_options=_better_teacher,
        num_seeds=3,
    ),
    # that teacher itself, which is in no other table
    'teacher_2400': dict(
        config=teacher['config'], cfg_options=_iterations(2400), num_seeds=1
    ),
    # and twice the schedule, beside a student alone for as long
    'wkd-lf_1600_teacher-2400': dict(
        **_wkd_lf,
        cfg_options={**_better_teacher, **_iterations(1600)},
        num_seeds=3,
    ),
    'student_2720': dict(
        config=pair['student'], cfg_options=_iterations(2720), num_seeds=3
    ),
    # the same with the stop at half
    'wkd-lf-fast_1600_teacher-2400': dict(
        **_wkd_lf,
        **_fast,
        cfg_options={
            **_better_teacher,
            **_iterations(1600),
            'custom_hooks.0.stop': 800,
        },
        num_seeds=3,
    ),
    'student_2240': dict(
        config=pair['student'], cfg_options=_iterations(2240), num_seeds=3
    ),
    'wkd-lf_self': dict(
        **_wkd_lf,
        pair=dict(
            student=pair['student'],
            teacher='configs/_base_/teachers/'
            'faster-rcnn_r18-eighth_fpn_minicoco.py',
        ),
        cfg_options={
            'model.teacher.checkpoint': 'work_dirs/'
            'faster-rcnn_r18-eighth_fpn_800_minicoco/iter_800.pth'
        },
        num_seeds=3,
    ),
}
