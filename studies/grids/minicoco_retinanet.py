# Logits of dense heads: WKD-L against KL. tools/make_minicoco.py makes the
# data, tools/train.py the teacher, into the folder that
# configs/_base_/teachers names.
# The rows that begin with `reference` have the transport of the paper's code.
# Rows named wkd-lf compare neck maps, which configs now call wkd-ln.
_reference = {'model.logit_loss.reg': 0.05, 'model.logit_loss.num_iters': 10}
_wkd_l = dict(losses='wkd', places=['logit'])
_wkd_ln = dict(losses='wkd', places=['logit', 'neck'])

dataset = 'minicoco, RetinaNet'
seeds = [0, 1, 2]
pair = dict(
    student='configs/minicoco/retinanet_r18-eighth_fpn_800_minicoco.py',
    teacher='configs/_base_/teachers/retinanet_r18-half_fpn_minicoco.py',
)
teacher = dict(
    config='configs/minicoco/retinanet_r18-half_fpn_800_minicoco.py',
    checkpoint='work_dirs/retinanet_r18-half_fpn_800_minicoco/iter_800.pth',
)
baseline = 'student'
rows = {
    'student': dict(config=pair['student']),
    'wkd-l': _wkd_l,
    'kd': dict(losses='kd'),
    'wkd-lf': _wkd_ln,
    'reference_wkd-l': dict(**_wkd_l, cfg_options=_reference),
    'reference_wkd-lf': dict(**_wkd_ln, cfg_options=_reference),
}
