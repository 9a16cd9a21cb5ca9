# An ATSS whose teacher is of another kind: a Faster R-CNN judges its boxes,
# the predictions of a RetinaNet are matched to its own.
# tools/make_minicoco.py makes the data, tools/train.py the teachers, into the
# folders that configs/_base_/teachers name.
_student = 'configs/minicoco/atss_r18-eighth_fpn_800_minicoco.py'

dataset = 'minicoco, to ATSS'
seeds = [0, 1, 2]
baseline = 'student'
cfg_options = {
    'train_cfg.max_iters': 400,
    'train_cfg.val_interval': 400,
    'param_scheduler.1.end': 400,
}
# maps in the teacher's units, as the paper has them
_raw = dict(cfg_options={'model.neck_loss.standardize': False})
_pairs = {
    name: dict(
        student=_student,
        teacher=f'configs/_base_/teachers/{name}_r18-half_fpn_minicoco.py',
    )
    for name in ('faster-rcnn', 'retinanet')
}
rows = {
    'student': dict(config=_student),
    **{
        f'{row}_from-{name}': dict(**losses, pair=pair)
        for name, pair in _pairs.items()
        for row, losses in {
            'wkd-f_raw': dict(losses='wkd', places=['neck'], **_raw),
            'kd': dict(losses='kd'),
            'wkd-l': dict(losses='wkd', places=['logit']),
            'wkd-ln': dict(
                losses='wkd', places=['logit', 'neck'], num_seeds=2
            ),
            'wkd-ln_raw': dict(losses='wkd', places=['logit', 'neck'], **_raw),
        }.items()
    },
}
