# Logits of dense heads: WKD-L against KL, of one distribution and of each
# sigmoid. tools/make_minicoco.py makes the data, tools/train.py the teacher,
# into the folder that configs/_base_/teachers names.
# The rows that begin with `reference` have the transport of the paper's code.
_reference = {'model.logit_loss.reg': 0.05, 'model.logit_loss.num_iters': 10}
_pair = 'retinanet_r18-eighth-from-r18-half_fpn_800_minicoco.py'

dataset = 'minicoco, RetinaNet'
seeds = [0, 1, 2]
teacher = dict(
    config='configs/minicoco/retinanet_r18-half_fpn_800_minicoco.py',
    checkpoint='work_dirs/retinanet_r18-half_fpn_800_minicoco/iter_800.pth',
)
baseline = 'student'
rows = {
    'student': dict(
        config='configs/minicoco/retinanet_r18-eighth_fpn_800_minicoco.py'
    ),
    **{
        method: dict(config=f'configs/minicoco/{method}_{_pair}')
        for method in ('wkd-l', 'kd', 'bkd', 'wkd-lf')
    },
    **{
        f'reference_{method}': dict(
            config=f'configs/minicoco/{method}_{_pair}',
            cfg_options=_reference,
        )
        for method in ('wkd-l', 'wkd-lf')
    },
}
