# The pair of cocophotos_yolox.py from ImageNet weights: the first 1000
# iterations of the schedule of 4000.
dataset = 'cocophotos, from ImageNet'
seeds = [0, 1, 2]
pair = dict(
    student='configs/cocophotos/rtmdet_mobilenetv2_pafpn64_4000_cocophotos.py',
    teacher='configs/_base_/teachers/yolox-nano_8xb8-300e_coco.py',
)
teacher = dict(
    config='configs/cocophotos/yolox-nano_pafpn64_400_cocophotos.py',
    checkpoint='data/yolox_nano_coco_mmdet.pth',
)
baseline = 'student'
cfg_options = {'train_cfg.max_iters': 1000}
rows = {
    'student': dict(config=pair['student']),
    'wkd-ln': dict(losses='wkd', places=['logit', 'neck']),
}
