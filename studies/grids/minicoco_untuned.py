# Losses at their defaults, beside the weights that had been tuned one by one
# (docs/results_drawn.md). tools/make_minicoco.py makes the data,
# tools/train.py the teacher, into the folder that configs/_base_/teachers
# names.
dataset = 'minicoco, untuned'
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
_wkd_lf = dict(losses='wkd', places=['logit', 'roi'])
rows = {
    'wkd-lf': _wkd_lf,
    'student': dict(config=pair['student']),
    # the teacher sees images of half their size
    'wkd-lf_half-size': dict(
        **_wkd_lf, cfg_options={'model.teacher.image_scale': 0.5}, num_seeds=1
    ),
    **{
        f'{method}-roi': dict(losses=method, places=['roi'], num_seeds=1)
        for method in ('fitnet', 'pkd')
    },
}
