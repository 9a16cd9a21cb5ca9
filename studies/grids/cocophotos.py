# Photographs of COCO: a YOLOX-nano of COCO teaches a YOLOX of MobileNetV2,
# which starts with its teacher's neck and head. Before it: data and weights,
# as docs/results.md lists them.
dataset = 'cocophotos, YOLOX to YOLOX'
seeds = [0, 1, 2, 3, 4]
pair = dict(
    student='configs/cocophotos/yolox_mobilenetv2_pafpn64_1000_cocophotos.py',
    teacher='configs/_base_/teachers/yolox-nano_8xb8-300e_coco.py',
)
teacher = dict(
    config='configs/cocophotos/yolox-nano_pafpn64_1000_cocophotos.py',
    checkpoint='data/yolox_nano_coco_mmdet.pth',
)
# maps in the teacher's units, as the paper has them
_raw = dict(cfg_options={'model.neck_loss.standardize': False})
baseline = 'student'
rows = {
    'student': dict(config=pair['student']),
    'wkd-ln': dict(losses='wkd', places=['logit', 'neck']),
    'wkd-ln_raw': dict(
        losses='wkd', places=['logit', 'neck'], num_seeds=3, **_raw
    ),
    'kd': dict(losses='kd'),
    # boxes too, at the same locations
    'wkd-lnb': dict(
        losses=('wkd', 'box'), places=['logit', 'neck', 'box'], num_seeds=2
    ),
    'wkd-lnb_raw': dict(
        losses=('wkd', 'box'),
        places=['logit', 'neck', 'box'],
        num_seeds=2,
        **_raw,
    ),
    'wkd-lb': dict(losses=('wkd', 'box'), places=['logit', 'box']),
    # the teacher runs for half of the schedule
    'wkd-lb-fast': dict(
        losses=('wkd', 'box'),
        places=['logit', 'box'],
        bases=['configs/_base_/schedules/cocophotos_stop-500.py'],
        num_seeds=3,
    ),
    'kd-b': dict(losses=('kd', 'box'), num_seeds=1),
    # a little longer than wkd-ln, whose steps take 1.3 to 1.4 times the time
    'student_1450': dict(
        config=pair['student'],
        cfg_options={
            'train_cfg.max_iters': 1450,
            'train_cfg.val_interval': 1450,
            'param_scheduler.1.end': 1450,
        },
        num_seeds=4,
    ),
    'wkd-l': dict(losses='wkd', places=['logit'], num_seeds=2),
    'dkd': dict(losses='dkd', num_seeds=3),
    'pkd': dict(losses='pkd', places=['neck'], num_seeds=3),
    # the places of wkd-ln, with the best of the others at each
    'kd-pkd': dict(
        losses=('kd', 'pkd'), places=['logit', 'neck'], num_seeds=3
    ),
    # and with KD in place of WKD-L alone
    'kd-wkd-f': dict(
        losses='wkd',
        places=['logit', 'neck'],
        cfg_options={'model.logit_loss.type': 'KDLoss'},
        num_seeds=3,
    ),
    'fitnet': dict(losses='fitnet', places=['neck'], num_seeds=2),
    'cwd': dict(losses='cwd', places=['neck'], num_seeds=2),
    'wkd-f': dict(losses='wkd', places=['neck'], num_seeds=3),
}
