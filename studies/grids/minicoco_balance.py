# Whether losses need weights of their own: the default of a distiller beside
# weights that were tuned one by one (docs/results_drawn.md). Data and teacher
# as for minicoco_methods.py.
_TUNED = {'model.balance_interval': 0}

dataset = 'minicoco, balance'
seeds = [0, 1, 2]
pair = dict(
    student='configs/minicoco/faster-rcnn_r18-eighth_fpn_800_minicoco.py',
    teacher='configs/_base_/teachers/faster-rcnn_r18-half_fpn_minicoco.py',
)
teacher = dict(
    config='configs/minicoco/faster-rcnn_r18-half_fpn_800_minicoco.py',
    checkpoint='work_dirs/faster-rcnn_r18-half_fpn_800_minicoco/iter_800.pth',
)
baseline = 'student'
cfg_options = {
    'train_cfg.max_iters': 400,
    'train_cfg.val_interval': 400,
    'param_scheduler.1.end': 400,
}
_weights = {  # row: (losses, places, weights that were tuned)
    'wkd-lf': ('wkd', ['logit', 'roi'], {'roi': 0.03}),
    'wkd-f': ('wkd', ['neck'], {'neck': 0.1}),
    'kd': ('kd', ['logit'], {'logit': 1.0}),
}
rows = {
    'student': dict(config=pair['student']),
    **{
        row: dict(losses=losses, places=places)
        for row, (losses, places, _) in _weights.items()
    },
    **{
        f'{row}_tuned': dict(
            losses=losses,
            places=places,
            cfg_options={
                **_TUNED,
                **{
                    f'model.{place}_loss.loss_weight': weight
                    for place, weight in weights.items()
                },
            },
        )
        for row, (losses, places, weights) in _weights.items()
    },
}
