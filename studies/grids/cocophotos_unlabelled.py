# Photographs of which a quarter has labels: the student alone and WKD on that
# quarter, and WKD on all images, most of them without labels
# (docs/unlabelled.md). Pair, data and weights are those of cocophotos.py.
dataset = 'cocophotos, a quarter labelled'
seeds = [0, 1, 2]
pair = dict(
    student='configs/cocophotos/yolox_mobilenetv2_pafpn64_1000_cocophotos.py',
    teacher='configs/_base_/teachers/yolox-nano_8xb8-300e_coco.py',
)
_quarter = dict(cfg_options={'train_dataloader.dataset.indices': 486})
baseline = 'student'
rows = {
    'student': dict(config=pair['student'], **_quarter),
    'wkd-ln': dict(losses='wkd', places=['logit', 'neck'], **_quarter),
    'wkd-ln-unlabelled': dict(
        config='configs/cocophotos/wkd-ln_yolox_mobilenetv2-from-nano_'
        'pafpn64_1000-unlabelled_cocophotos.py'
    ),
}
