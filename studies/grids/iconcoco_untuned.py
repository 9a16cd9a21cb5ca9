# Losses at their defaults on iconcoco, beside version 0.1's weights, which had
# been tuned on minicoco. Before it: data and teacher, as
# docs/results_drawn.md lists them.
dataset = 'iconcoco, untuned'
seeds = [0, 1, 2]
pair = dict(
    student='configs/iconcoco/faster-rcnn_mobilenetv2_fpn48_700_iconcoco.py',
    teacher='configs/_base_/teachers/'
    'faster-rcnn_mobilenetv2_fpn96_iconcoco.py',
)
teacher = dict(
    config='configs/iconcoco/faster-rcnn_mobilenetv2_fpn96_1500_iconcoco.py',
    checkpoint='work_dirs/faster-rcnn_mobilenetv2_fpn96_1500_iconcoco/'
    'iter_1500.pth',
)
baseline = 'student'
_wkd_lf = dict(losses='wkd', places=['logit', 'roi'])
rows = {
    'wkd-lf': _wkd_lf,
    'wkd-lf_weights': dict(
        **_wkd_lf,
        cfg_options={
            'model.balance_interval': 0,
            'model.roi_loss.loss_weight': 0.03,
        },
    ),
    'student': dict(config=pair['student'], num_seeds=1),
    'fitnet-roi': dict(losses='fitnet', places=['roi'], num_seeds=1),
}
