"""A tiny teacher, and images of several sizes with a crowd among them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from mmwkd.distillers import build_teacher
from mmwkd.testing import tiny_faster_rcnn

CLASSES = ('cat', 'dog', 'bus')
SIZES = ((64, 96), (96, 64), (64, 64))  # height, width
NUM_IMAGES = 10


@pytest.fixture(scope='session')
def coco_root(tmp_path_factory):
    """Noise with boxes, in COCO's layout."""
    root = tmp_path_factory.mktemp('coco')
    for split in ('train', 'val'):
        (root / split).mkdir()
        document = draw(root / split, np.random.default_rng(len(split)))
        (root / f'{split}.json').write_text(json.dumps(document))
    return root


def draw(folder, generator):
    images, annotations = [], []
    for image_id in range(NUM_IMAGES):
        height, width = SIZES[image_id % len(SIZES)]
        name = f'{image_id}.png'
        noise = generator.integers(256, size=(height, width, 3))
        cv2.imwrite(str(folder / name), noise.astype(np.uint8))
        images.append(
            dict(id=image_id, file_name=name, height=height, width=width)
        )
        for number in range(4):
            x, y = generator.uniform(0, 32, 2).round(2)
            w, h = generator.uniform(8, 31, 2).round(2)
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image_id,
                    category_id=1 + number % len(CLASSES),
                    bbox=[x, y, w, h],
                    area=w * h,
                    iscrowd=int(number == 3),
                )
            )
    categories = [dict(id=1 + i, name=c) for i, c in enumerate(CLASSES)]
    return dict(images=images, annotations=annotations, categories=categories)


@pytest.fixture(scope='session')
def checkpoint(tmp_path_factory):
    torch.manual_seed(1)
    detector = MODELS.build(tiny_faster_rcnn())
    detector.init_weights()
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    save_checkpoint(detector, path)
    return path


def save_checkpoint(detector, path, classes=CLASSES):
    torch.save(
        dict(
            state_dict=detector.state_dict(),
            meta=dict(dataset_meta=dict(classes=classes)),
        ),
        path,
    )


@pytest.fixture
def config(coco_root):
    """Config of the teacher and its data; images are doubled in width."""

    def dataloader(split):
        return dict(
            batch_size=2,
            dataset=dict(
                type='CocoDataset',
                data_root=str(coco_root),
                ann_file=f'{split}.json',
                data_prefix=dict(img=f'{split}/'),
                metainfo=dict(classes=CLASSES),
                pipeline=[
                    dict(type='LoadImageFromFile'),
                    dict(type='Resize', scale_factor=(2.0, 1.5)),
                    dict(type='LoadAnnotations', with_bbox=True),
                    dict(type='PackDetInputs'),
                ],
            ),
        )

    return Config(
        dict(
            default_scope='mmdet',
            model=tiny_faster_rcnn(),
            train_dataloader=dataloader('train'),
            val_dataloader=dataloader('val'),
        )
    )


@pytest.fixture
def config_file(config, tmp_path):
    path = Path(tmp_path) / 'teacher_config.py'
    config.dump(path)
    return path


@pytest.fixture
def teacher(config, checkpoint):
    return build_teacher(dict(config=config.model, checkpoint=str(checkpoint)))
