# What category relations are worth to WKD-L: matrices of several estimators,
# none at all, and sharper costs. Before it:
# tools/make_minicoco.py makes the data, tools/train.py the teacher,
# tools/estimate_cost_matrix.py the matrices.
_wkd_l = (
    'configs/minicoco/'
    'wkd-l_faster-rcnn_r18-eighth-from-r18-half_fpn_800_minicoco.py'
)
_costs = {
    # all categories equally far from each other
    'identity': 'work_dirs/costs/minicoco_identity.npz',
    'classifier': 'classifier',
    'centroid': 'work_dirs/costs/minicoco_centroid.npz',
    'confusion': 'work_dirs/costs/minicoco_confusion.npz',
    'paired-cka': 'work_dirs/costs/minicoco_paired_cka.npz',
}

dataset = 'minicoco, costs'
seeds = [0, 1, 2]
teacher = dict(
    config='configs/minicoco/faster-rcnn_r18-half_fpn_800_minicoco.py',
    checkpoint='work_dirs/minicoco_teacher/iter_800.pth',
)
cfg_options = {
    'model.teacher.checkpoint': teacher['checkpoint'],
    'model.logit_loss.temperature': 2.0,
    'model.logit_loss.gamma': 5.0,
    'model.logit_loss.reg': 0.05,
    'model.logit_loss.num_iters': 10,
}
baseline = 'student'
rows = {
    'student': dict(
        config='configs/minicoco/faster-rcnn_r18-eighth_fpn_800_minicoco.py'
    ),
    **{
        f'wkd-l_{name}': dict(
            config=_wkd_l,
            cfg_options={
                'model.logit_loss.cost': cost,
                'model.logit_loss.kappa': 1.0,
            },
        )
        for name, cost in _costs.items()
    },
    **{
        f'wkd-l_classifier_kappa-{kappa}': dict(
            config=_wkd_l, cfg_options={'model.logit_loss.kappa': kappa}
        )
        for kappa in (2.0, 3.0)
    },
}
