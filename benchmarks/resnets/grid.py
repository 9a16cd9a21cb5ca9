# What the main methods are worth where detectors have the widths of COCO's.
dataset = 'minicoco, 256 px'
seeds = [0, 1, 2]
teacher = dict(
    config='benchmarks/resnets/faster-rcnn_r50_minicoco.py',
    checkpoint='work_dirs/teacher/iter_800.pth',
)
pair = dict(
    student='benchmarks/resnets/faster-rcnn_r18_minicoco.py',
    teacher='benchmarks/resnets/teacher.py',
)
baseline = 'student'
rows = {
    'student': dict(config=pair['student']),
    'kd': dict(losses='kd'),
    'wkd-l': dict(losses='wkd', places=['logit']),
    'wkd-f-roi': dict(losses='wkd', places=['roi']),
    'wkd-lf': dict(losses='wkd', places=['logit', 'roi']),
}
