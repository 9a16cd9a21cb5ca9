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
# maps in the teacher's units, as the paper has them
_raw = {'model.neck_loss.standardize': False}
_raw_quarter = dict(cfg_options=_quarter['cfg_options'] | _raw)
_unlabelled = (
    'configs/cocophotos/wkd-ln_yolox_mobilenetv2-from-nano_'
    'pafpn64_1000-unlabelled_cocophotos.py'
)
baseline = 'student'
rows = {
    'student': dict(config=pair['student'], **_quarter),
    'wkd-ln_raw': dict(losses='wkd', places=['logit', 'neck'], **_raw_quarter),
    'wkd-lnb_raw': dict(
        losses=('wkd', 'box'),
        places=['logit', 'neck', 'box'],
        num_seeds=1,
        **_raw_quarter,
    ),
    'wkd-ln-unlabelled_raw': dict(
        config=_unlabelled, cfg_options=_raw, num_seeds=1
    ),
    # a batch no larger than before, so fewer images with labels
    'wkd-ln-unlabelled_2-of-8_raw': dict(
        config=_unlabelled,
        cfg_options={
            'train_dataloader.batch_size': 8,
            'train_dataloader.sampler.batch_size': 8,
            'train_dataloader.sampler.source_ratio': [1, 3],
            **_raw,
        },
        num_seeds=2,
    ),
}
