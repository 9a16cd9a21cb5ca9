# Photographs of COCO: a YOLOX-nano of COCO teaches an RTMDet of MobileNetV2.
# All students go on from one that has trained alone for 4000 iterations.
# Before it: data, weights and that student, as docs/results.md lists them.
dataset = 'cocophotos, YOLOX to RTMDet'
seeds = [0, 1, 2]
pair = dict(
    student='configs/cocophotos/rtmdet_mobilenetv2_pafpn64_400_cocophotos.py',
    teacher='configs/_base_/teachers/yolox-nano_8xb8-300e_coco.py',
)
teacher = dict(
    config='configs/cocophotos/yolox-nano_pafpn64_400_cocophotos.py',
    checkpoint='data/yolox_nano_coco_mmdet.pth',
)
baseline = 'student'
rows = {
    'student': dict(config=pair['student']),
    'wkd-ln': dict(losses='wkd', places=['logit', 'neck']),
    'dkd': dict(losses='dkd'),
    'kd': dict(losses='kd'),
    'wkd-l': dict(losses='wkd', places=['logit']),
    'wkd-f': dict(losses='wkd', places=['neck']),
    'wkd-f_adapter': dict(
        config='configs/cocophotos/wkd-f_rtmdet_mobilenetv2-from-yolox-nano_'
        'pafpn64_400-adapter_cocophotos.py'
    ),
    **{
        method: dict(losses=method, places=['neck'])
        for method in ('pkd', 'fitnet', 'cwd')
    },
}
