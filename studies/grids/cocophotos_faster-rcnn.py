# Photographs of COCO: a Faster R-CNN on a YOLOX-nano of COCO teaches one of
# MobileNetV2, which has learnt for 1000 iterations. Before it: data, weights,
# teacher and the student's first half, as docs/results.md lists them.
dataset = 'cocophotos, Faster R-CNN to Faster R-CNN'
seeds = [0, 1, 2]
pair = dict(
    student='configs/cocophotos/'
    'faster-rcnn_mobilenetv2_pafpn64_1000-more_cocophotos.py',
    teacher='configs/_base_/teachers/'
    'faster-rcnn_yolox-nano_pafpn64_cocophotos.py',
)
teacher = dict(
    config='configs/cocophotos/'
    'faster-rcnn_yolox-nano_pafpn64_3000_cocophotos.py',
    checkpoint='work_dirs/faster-rcnn_yolox-nano_pafpn64_3000_cocophotos/'
    'iter_3000.pth',
)
_from_yolox = dict(
    losses='wkd',
    places=['logit', 'neck'],
    pair=dict(
        student=pair['student'],
        teacher='configs/_base_/teachers/yolox-nano_8xb8-300e_coco.py',
    ),
    num_seeds=1,
)
baseline = 'student'
rows = {
    'student': dict(config=pair['student']),
    'wkd-lf': dict(losses='wkd', places=['logit', 'roi']),
    'kd': dict(losses='kd', num_seeds=2),
    # the detector of COCO itself judges the boxes
    'wkd-ln_from-yolox-nano': _from_yolox,
    # maps in the teacher's units, as the paper has them
    'wkd-ln_from-yolox-nano_raw': dict(
        **_from_yolox, cfg_options={'model.neck_loss.standardize': False}
    ),
}
