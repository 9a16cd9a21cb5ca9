# A part of the methods on iconcoco with another teacher: iconcoco.py's own,
# trained anew on another kind of CPU. It has what was open there: FitNet with
# the stop, and WKD-L whose transport counts where the teacher doubts.
_pair = 'faster-rcnn_mobilenetv2_fpn48-from-fpn96_700_iconcoco.py'

dataset = 'iconcoco, second teacher'
seeds = [0, 1, 2]
teacher = dict(
    config='configs/iconcoco/faster-rcnn_mobilenetv2_fpn96_1500_iconcoco.py',
    checkpoint='work_dirs/faster-rcnn_mobilenetv2_fpn96_1500_iconcoco/'
    'iter_1500.pth',
)
baseline = 'wkd-l'
rows = {
    'wkd-l_mass-weighted': dict(
        config=f'configs/iconcoco/wkd-l_{_pair}',
        cfg_options={
            'model.logit_loss.mass_weighted': True,
            # the gradient of foreground RoIs is then about what it was
            'model.logit_loss.gamma': 6.0,
        },
    ),
    **{
        method: dict(config=f'configs/iconcoco/{method}_{_pair}')
        for method in ('fitnet-roi-fast', 'wkd-lf-fast', 'wkd-l', 'dkd')
    },
}
