# Labels for a quarter of the images: each batch has eight labelled images as
# before, and eight that have distillation terms only (docs/unlabelled.md).
_base_ = './wkd-ln_yolox_mobilenetv2-from-nano_pafpn64_1000_cocophotos.py'

labelled = _base_.train_dataloader.dataset
train_dataloader = dict(
    batch_size=16,
    sampler=dict(
        _delete_=True,
        type='MultiSourceSampler',
        batch_size=16,
        source_ratio=[1, 1],
    ),
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            dict(labelled, indices=486),
            dict(
                labelled,
                pipeline=[
                    transform
                    for transform in _base_.train_pipeline
                    if transform.type != 'LoadAnnotations'
                ],
            ),
        ],
    ),
)
