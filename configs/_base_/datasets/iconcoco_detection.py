# `python tools/make_iconcoco.py` composes the images.
data_root = 'data/iconcoco/'
# fmt: off
metainfo = dict(
    classes=(
        'person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train',
        'truck', 'boat', 'traffic light', 'stop sign', 'bird', 'cat', 'dog',
        'horse', 'sheep', 'cow', 'elephant', 'bear', 'zebra', 'giraffe',
        'backpack', 'umbrella', 'handbag', 'tie', 'suitcase', 'frisbee',
        'skis', 'sports ball', 'kite', 'skateboard', 'tennis racket', 'bottle',
        'wine glass', 'cup', 'fork', 'knife', 'spoon', 'bowl', 'banana',
        'apple', 'sandwich', 'orange', 'broccoli', 'carrot', 'hot dog',
        'pizza', 'donut', 'cake', 'chair', 'couch', 'potted plant', 'bed',
        'toilet', 'tv', 'laptop', 'mouse', 'keyboard', 'cell phone', 'book',
        'clock', 'vase', 'scissors', 'teddy bear', 'toothbrush',
    ),
    palette=[
        (220, 20, 60), (119, 11, 32), (0, 0, 142), (0, 0, 230), (106, 0, 228),
        (0, 60, 100), (0, 80, 100), (0, 0, 70), (0, 0, 192), (250, 170, 30),
        (220, 220, 0), (165, 42, 42), (255, 77, 255), (0, 226, 252),
        (182, 182, 255), (0, 82, 0), (120, 166, 157), (110, 76, 0),
        (174, 57, 255), (199, 100, 0), (72, 0, 118), (255, 179, 240),
        (0, 125, 92), (209, 0, 151), (188, 208, 182), (0, 220, 176),
        (255, 99, 164), (92, 0, 73), (78, 180, 255), (0, 228, 0),
        (134, 134, 103), (255, 208, 186), (197, 226, 255), (171, 134, 1),
        (109, 63, 54), (207, 138, 255), (151, 0, 95), (9, 80, 61),
        (84, 105, 51), (74, 65, 105), (166, 196, 102), (208, 195, 210),
        (255, 109, 65), (0, 143, 149), (179, 0, 194), (209, 99, 106),
        (5, 121, 0), (227, 255, 205), (147, 186, 208), (153, 69, 1),
        (3, 95, 161), (163, 255, 0), (119, 0, 170), (0, 165, 120),
        (183, 130, 88), (95, 32, 0), (130, 114, 135), (166, 74, 118),
        (219, 142, 185), (142, 108, 45), (196, 172, 0), (95, 54, 80),
        (128, 76, 255), (201, 57, 1), (191, 162, 208),
    ])
# fmt: on

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(160, 160), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(160, 160), keep_ratio=True),
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
    num_workers=0,  # images are small: workers would fight for the cores
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
# Validation vendors are for the reported numbers alone. Hyper-parameters are
# chosen on the tune split, which has vendors of its own.
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
