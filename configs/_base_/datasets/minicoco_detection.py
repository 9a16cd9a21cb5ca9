# `python tools/make_minicoco.py data/minicoco` draws the images.
data_root = 'data/minicoco/'
# fmt: off
metainfo = dict(
    classes=(
        'car', 'van', 'bus', 'truck', 'house', 'church', 'castle', 'tower',
        'pine', 'cypress', 'oak', 'palm', 'apple', 'tomato', 'cherry',
        'strawberry', 'cat', 'bear', 'rabbit', 'dog', 'star4', 'star5',
        'star6', 'sun',
    ),
    palette=[
        (8, 75, 153), (34, 105, 185), (69, 138, 218), (112, 177, 250),
        (124, 8, 153), (155, 34, 185), (188, 69, 218), (222, 112, 250),
        (8, 153, 12), (34, 185, 39), (69, 218, 74), (112, 250, 117),
        (153, 8, 22), (185, 34, 49), (218, 69, 84), (250, 112, 126),
        (153, 68, 8), (185, 97, 34), (218, 131, 69), (250, 170, 112),
        (153, 131, 8), (185, 163, 34), (218, 195, 69), (250, 229, 112),
    ])
# fmt: on

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    # no change of size, but prediction wants the `scale_factor` that it sets
    dict(type='Resize', scale_factor=1.0, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=(
            'img_id',
            'img_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
        ),
    ),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=0,  # images are tiny: workers would fight for the cores
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='CocoDataset',
        metainfo=metainfo,
        data_root=data_root,
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset',
        metainfo=metainfo,
        data_root=data_root,
        ann_file='annotations/instances_val.json',
        data_prefix=dict(img='val/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='CocoMetric',
    ann_file=data_root + 'annotations/instances_val.json',
    metric='bbox',
)
test_evaluator = val_evaluator
