# Losses at their defaults for two pairs more: a Cascade R-CNN that teaches a
# Faster R-CNN, and RetinaNets. tools/make_minicoco.py makes the data,
# tools/train.py the teachers, into the folders that configs/_base_/teachers
# name.
_faster_rcnn = 'configs/minicoco/faster-rcnn_r18-eighth_fpn_800_minicoco.py'
_retinanet = dict(
    student='configs/minicoco/retinanet_r18-eighth_fpn_800_minicoco.py',
    teacher='configs/_base_/teachers/retinanet_r18-half_fpn_minicoco.py',
)
# maps in the teacher's units, as the paper has them
_raw = dict(cfg_options={'model.neck_loss.standardize': False})
dataset = 'minicoco, untuned pairs'
seeds = [0, 1, 2]
baseline = 'retinanet_wkd-ln'
rows = {
    'cascade_wkd-lf': dict(
        losses='wkd',
        places=['logit', 'roi'],
        pair=dict(
            student=_faster_rcnn,
            teacher='configs/_base_/teachers/'
            'cascade-rcnn_r18-half_fpn_minicoco.py',
        ),
    ),
    **{
        f'retinanet_{name}{suffix}': dict(**losses, **units, pair=_retinanet)
        for suffix, units in {'': {}, '_raw': _raw}.items()
        for name, losses in {
            'wkd-ln': dict(losses='wkd', places=['logit', 'neck']),
            'wkd-lnb': dict(
                losses=('wkd', 'box'), places=['logit', 'neck', 'box']
            ),
        }.items()
    },
    'retinanet_wkd-lb': dict(
        losses=('wkd', 'box'), places=['logit', 'box'], pair=_retinanet
    ),
    'retinanet_kd': dict(losses='kd', pair=_retinanet),
}
