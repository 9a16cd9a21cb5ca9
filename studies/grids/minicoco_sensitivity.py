# Each hyper-parameter of WKD-L alone, around the values of
# configs/_base_/losses/wkd.py. Data and teacher are those of
# minicoco_methods.py, and so is the table: the rows that both have, and the
# values of the centre, run once.
_config = (
    'configs/minicoco/'
    'wkd-l_faster-rcnn_r18-eighth-from-r18-half_fpn_800_minicoco.py'
)
_values = {
    'temperature': (1.0, 4.0, 8.0),
    'gamma': (1.25, 5.0, 10.0),
    'kappa': (1.0, 3.0, 4.0),
    'reg': (0.05, 0.2),
    'num_iters': (5, 10, 50),
}

dataset = 'minicoco'
seeds = [0, 1, 2]
teacher = dict(
    config='configs/minicoco/faster-rcnn_r18-half_fpn_800_minicoco.py',
    checkpoint='work_dirs/minicoco_teacher/iter_800.pth',
)
cfg_options = {'model.teacher.checkpoint': teacher['checkpoint']}
baseline = 'student'
rows = {
    'student': dict(
        config='configs/minicoco/faster-rcnn_r18-eighth_fpn_800_minicoco.py'
    ),
    'wkd-l': dict(config=_config),
    **{
        f'wkd-l_{name}-{value:g}': dict(
            config=_config, cfg_options={f'model.logit_loss.{name}': value}
        )
        for name, values in _values.items()
        for value in values
    },
}
