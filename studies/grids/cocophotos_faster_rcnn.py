# Photographs of COCO: a YOLOX-nano of COCO teaches a Faster R-CNN, whose
# predictions its own are matched to. Before it: data, weights and a student of
# cocophotos.py, as docs/results.md lists them.
dataset = 'cocophotos, YOLOX to Faster R-CNN'
seeds = [0]
pair = dict(
    student='configs/cocophotos/'
    'faster-rcnn_mobilenetv2_pafpn64_400_cocophotos.py',
    teacher='configs/_base_/teachers/yolox-nano_8xb8-300e_coco.py',
)
baseline = 'student'
rows = {
    'student': dict(config=pair['student']),
    'wkd-f': dict(losses='wkd', places=['neck']),
    'kd': dict(losses='kd'),
    'wkd-ln': dict(losses='wkd', places=['logit', 'neck']),
}
