"""Tiny pairs of detectors on a drawn dataset, as files of a user's."""

import json

import numpy as np
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from PIL import Image

CLASSES = ('circle', 'square', 'star')


def write_dataset(root, num_images=4):
    """Noise with two boxes an image, in COCO's layout."""
    generator = np.random.default_rng(0)
    (root / 'images').mkdir(parents=True)
    images, annotations = [], []
    for index in range(num_images):
        pixels = generator.integers(256, size=(64, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / 'images' / f'{index}.png')
        images.append(
            dict(id=index, file_name=f'{index}.png', height=64, width=96)
        )
        for category in (1 + index % 3, 1 + (index + 1) % 3):
            x, y = generator.integers(0, 40, 2).tolist()
            annotations.append(
                dict(
                    id=len(annotations),
                    image_id=index,
                    category_id=category,
                    bbox=[x, y, 20, 20],
                    area=400,
                    iscrowd=0,
                )
            )
    document = dict(
        images=images,
        annotations=annotations,
        categories=[
            dict(id=index, name=name) for index, name in enumerate(CLASSES, 1)
        ],
    )
    (root / 'boxes.json').write_text(json.dumps(document))


def write_pair(folder, student, teacher=None):
    """Write ``student.py``, and a teacher with its checkpoint.

    Returns the command line of ``distil`` for them.
    """
    if not (folder / 'data').exists():
        write_dataset(folder / 'data')
    training_config(folder, student).dump(folder / 'student.py')
    if teacher is not None:
        training_config(folder, teacher).dump(folder / 'teacher.py')
        detector = MODELS.build(teacher)
        detector.init_weights()
        content = dict(
            state_dict=detector.state_dict(),
            meta=dict(dataset_meta=dict(classes=CLASSES)),
        )
        torch.save(content, folder / 'teacher.pth')
    return [
        'distil',
        str(folder / 'student.py'),
        '--teacher',
        str(folder / 'teacher.py'),
        str(folder / 'teacher.pth'),
        '--out',
        str(folder / 'distilled.py'),
    ]


def training_config(folder, model):
    """Two iterations on the drawn images."""
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='Resize', scale=(96, 64)),
        dict(type='PackDetInputs'),
    ]
    dataset = dict(
        type='CocoDataset',
        data_root=f'{folder / "data"}/',
        ann_file='boxes.json',
        data_prefix=dict(img='images/'),
        metainfo=dict(classes=CLASSES),
        pipeline=pipeline,
    )
    return Config(
        dict(
            model=model,
            default_scope='mmdet',
            train_dataloader=dict(
                batch_size=2,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=True),
                dataset=dataset,
            ),
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=2),
            optim_wrapper=dict(
                type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01)
            ),
            default_hooks=dict(
                checkpoint=dict(
                    type='CheckpointHook', interval=2, by_epoch=False
                )
            ),
        )
    )
