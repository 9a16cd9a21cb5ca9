# What category relations are worth to WKD-L: matrices of several estimators,
# and none at all. tools/make_minicoco.py makes the data, tools/train.py the
# teacher, tools/estimate_cost_matrix.py the matrices.
_pair = 'faster-rcnn_r18-eighth-from-r18-half_fpn_800_minicoco.py'
_costs = {
    'classifier': 'classifier',
    'centroid': 'work_dirs/costs/minicoco_centroid.npz',
    'covariance': 'work_dirs/costs/minicoco_covariance.npz',
    'paired_cka': 'work_dirs/costs/minicoco_paired_cka.npz',
    # all categories equally far from each other
    'identity': 'work_dirs/costs/minicoco_identity.npz',
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
    **{
        f'{method}_{name}': dict(
            config=f'configs/minicoco/{method}_{_pair}',
            cfg_options={'model.logit_loss.cost': cost},
        )
        for method in ('wkd-l', 'wkd-lf')
        for name, cost in _costs.items()
    },
}
