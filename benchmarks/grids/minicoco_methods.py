# The methods of configs/minicoco, one row each. tools/make_minicoco.py makes
# the data, tools/train.py the teacher.
_pair = 'faster-rcnn_r18-eighth-from-r18-half_fpn_800_minicoco.py'
_methods = (
    *('wkd-l', 'wkd-f', 'wkd-f-roi', 'wkd-lf'),
    *('kd', 'dkd', 'nkd'),
    *('fitnet', 'pkd', 'cwd', 'ickd'),
    *('fitnet-roi', 'pkd-roi', 'cwd-roi', 'ickd-roi', 'emd-roi'),
)

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
    **{
        method: dict(config=f'configs/minicoco/{method}_{_pair}')
        for method in _methods
    },
}
