# A dense student of a teacher with other boxes: logits of the boxes that the
# student predicts (max_boxes=512, the default), maps of the neck, and both.
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
rows = {
    'student': dict(config=pair['student']),
    'kd': dict(losses='kd'),
    'wkd-f': dict(losses='wkd', places=['neck']),
    'wkd-ln': dict(losses='wkd', places=['logit', 'neck']),
    'wkd-l': dict(losses='wkd', places=['logit']),
}
