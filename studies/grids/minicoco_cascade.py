# A Cascade R-CNN that teaches a Faster R-CNN, and boxes as an extra term.
# tools/make_minicoco.py makes the data, tools/train.py the two teachers, into
# the folders that configs/_base_/teachers names.

dataset = 'minicoco, Cascade R-CNN'
seeds = [0, 1, 2]
pair = dict(
    student='configs/minicoco/faster-rcnn_r18-eighth_fpn_800_minicoco.py',
    teacher='configs/_base_/teachers/cascade-rcnn_r18-half_fpn_minicoco.py',
)
teacher = dict(
    config='configs/minicoco/cascade-rcnn_r18-half_fpn_800_minicoco.py',
    checkpoint='work_dirs/cascade-rcnn_r18-half_fpn_800_minicoco/iter_800.pth',
)
baseline = 'student'
rows = {
    'student': dict(config=pair['student']),
    'wkd-l_from-cascade-r18-half': dict(losses='wkd', places=['logit']),
    'wkd-lf_from-cascade-r18-half': dict(
        losses='wkd', places=['logit', 'roi']
    ),
    'box_from-r18-half': dict(
        losses='box',
        pair=dict(
            student=pair['student'],
            teacher='configs/_base_/teachers/'
            'faster-rcnn_r18-half_fpn_minicoco.py',
        ),
    ),
}
