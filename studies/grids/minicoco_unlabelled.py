# What images without labels are worth: a quarter of the images has labels.
# tools/make_minicoco.py makes the data, tools/train.py the teacher, into the
# folder that configs/_base_/teachers names.
dataset = 'minicoco, a quarter of the labels'
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
_quarter = {'train_dataloader.dataset.indices': 500}
rows = {
    'student': dict(config=pair['student'], cfg_options=_quarter),
    'wkd-lf': dict(
        losses='wkd', places=['logit', 'roi'], cfg_options=_quarter
    ),
    'wkd-lf_unlabelled': dict(
        config='configs/minicoco/wkd-lf_faster-rcnn_r18-eighth-from-r18-half_'
        'fpn_800-unlabelled_minicoco.py'
    ),
}
