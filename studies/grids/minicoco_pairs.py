# A dense student of a teacher that judges its boxes: their logits, maps of the
# neck, and both. With 512 boxes a step takes four times as long as the
# student's own, with 128, the default, about twice as long.
# tools/make_minicoco.py makes the data, tools/train.py the teacher, into the
# folder that configs/_base_/teachers names.
dataset = 'minicoco, Cascade R-CNN to RetinaNet'
seeds = [0, 1, 2]
pair = dict(
    student='configs/minicoco/retinanet_r18-eighth_fpn_800_minicoco.py',
    teacher='configs/_base_/teachers/cascade-rcnn_r18-half_fpn_minicoco.py',
)
teacher = dict(
    config='configs/minicoco/cascade-rcnn_r18-half_fpn_800_minicoco.py',
    checkpoint='work_dirs/cascade-rcnn_r18-half_fpn_800_minicoco/iter_800.pth',
)
baseline = 'student'
cfg_options = {
    'train_cfg.max_iters': 400,
    'train_cfg.val_interval': 400,
    'param_scheduler.1.end': 400,
}
_logits = {'cfg_options': {'model.max_boxes': 128}}
# maps in the teacher's units, as the paper has them
_raw = {'model.neck_loss.standardize': False}
rows = {
    'student': dict(config=pair['student']),
    'kd': dict(losses='kd', **_logits),
    'wkd-f_raw': dict(losses='wkd', places=['neck'], cfg_options=_raw),
    'wkd-ln_raw': dict(
        losses='wkd',
        places=['logit', 'neck'],
        cfg_options=_logits['cfg_options'] | _raw,
    ),
    'wkd-l': dict(losses='wkd', places=['logit'], num_seeds=1, **_logits),
    'kd_512': dict(
        losses='kd', cfg_options={'model.max_boxes': 512}, num_seeds=1
    ),
}
