# A Cascade R-CNN that teaches a Faster R-CNN, and boxes as an extra term.
# tools/make_minicoco.py makes the data, tools/train.py the two teachers, into
# the folders that configs/_base_/teachers names.
_student = 'faster-rcnn_r18-eighth'
_wkd_l = {
    'model.logit_loss.temperature': 2.0,
    'model.logit_loss.gamma': 5.0,
    'model.logit_loss.reg': 0.05,
    'model.logit_loss.num_iters': 10,
}
_wkd_lf = {**_wkd_l, 'model.roi_loss.loss_weight': 0.01}

dataset = 'minicoco, Cascade R-CNN'
seeds = [0, 1, 2]
teacher = dict(
    config='configs/minicoco/cascade-rcnn_r18-half_fpn_800_minicoco.py',
    checkpoint='work_dirs/cascade-rcnn_r18-half_fpn_800_minicoco/iter_800.pth',
)
baseline = 'student'
rows = {
    'student': dict(config=f'configs/minicoco/{_student}_fpn_800_minicoco.py'),
    **{
        f'{method}_from-{source}': dict(
            config=f'configs/minicoco/{method}_{_student}-from-{source}'
            '_fpn_800_minicoco.py',
            cfg_options=changes,
        )
        for method, source, changes in (
            ('wkd-l', 'cascade-r18-half', _wkd_l),
            ('wkd-lf', 'cascade-r18-half', _wkd_lf),
            ('box', 'r18-half', {}),
        )
    },
}
