# The pair of cocophotos_yolox.py from ImageNet weights: the first half of the
# 4000 iterations, on the tune split, on which the student alone that all
# others start from was watched.
_tune = {
    f'{split}_dataloader.dataset.ann_file': 'annotations/instances_tune.json'
    for split in ('val', 'test')
}
_tune |= {
    f'{split}_evaluator.ann_file': 'data/coco_photos/annotations/'
    'instances_tune.json'
    for split in ('val', 'test')
}

dataset = 'cocophotos tune, from ImageNet'
seeds = [0]
pair = dict(
    student='configs/cocophotos/rtmdet_mobilenetv2_pafpn64_4000_cocophotos.py',
    teacher='configs/_base_/teachers/yolox-nano_8xb8-300e_coco.py',
)
teacher = dict(
    config='configs/cocophotos/yolox-nano_pafpn64_400_cocophotos.py',
    checkpoint='data/yolox_nano_coco_mmdet.pth',
)
baseline = 'student'
cfg_options = {'train_cfg.max_iters': 2000, **_tune}
rows = {
    'student': dict(config=pair['student']),
    'wkd-ln': dict(losses='wkd', places=['logit', 'neck']),
    'dkd': dict(losses='dkd'),
}
