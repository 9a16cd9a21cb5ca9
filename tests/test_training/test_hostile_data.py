"""Training on annotations, names and pictures that are not as they should."""

import json

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.hooks import Hook

from mmwkd.costs import BACKGROUND, CostMatrix
from mmwkd.distillers.checkpoint import read_weights
from mmwkd.functional import classifier_interrelation
from mmwkd.testing import tiny_faster_rcnn

INF, NAN = float('inf'), float('nan')
BOXES = {
    'good': [8, 8, 30, 30],
    'zero area': [5, 5, 0, 10],
    'negative size': [40, 40, -9, -9],
    'outside': [100, 100, 20, 20],
    'partly outside': [-10, -10, 30, 30],
    'less than a pixel': [5, 5, 0.5, 0.5],
    'nan': [NAN, 5, 20, 20],
    'inf': [INF, 5, 20, 20],
    'infinite width': [5, 5, INF, 20],
}


class Losses(Hook):
    """Keep all losses of a training."""

    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner, batch_idx, data_batch, outputs):
        self.seen.append(
            {k: float(v) for k, v in outputs.items() if 'loss' in k}
        )


@pytest.fixture(params=[('naïve "猫"',), ("l'été", 'без рамки')])
def hostile(request, tmp_path):
    """A dataset of one or two classes with every box there is.

    The last class has no box, the last image no annotation at all, and all
    paths have blanks, quotes and letters of other scripts.
    """
    classes = request.param
    root = tmp_path / 'data of "Zoë", 数据\'s'
    (root / 'train').mkdir(parents=True)
    images, annotations = [], []
    pixels = np.random.default_rng(0).integers(
        256, size=(64, 64, 3), dtype=np.uint8
    )
    for index, box in enumerate([*BOXES.values(), BOXES['good'], None]):
        name = f'фото {index}.jpg'
        images.append(dict(id=index, file_name=name, width=64, height=64))
        encoded = cv2.imencode('.jpg', pixels)[1]
        (root / 'train' / name).write_bytes(encoded.tobytes())
        if box is not None:
            is_crowd = int(index == len(BOXES))
            annotations.append(
                dict(id=index + 1, image_id=index, category_id=7, bbox=box)
                | dict(area=100.0, iscrowd=is_crowd)
            )
    categories = [dict(id=7 + i, name=name) for i, name in enumerate(classes)]
    document = dict(
        images=images, annotations=annotations, categories=categories
    )
    (root / 'box es.json').write_text(json.dumps(document))
    torch.manual_seed(0)
    teacher = MODELS.build(tiny_faster_rcnn(num_classes=len(classes)))
    weights = teacher.roi_head.bbox_head.fc_cls.weight
    CostMatrix(
        categories=(*classes, BACKGROUND),
        interrelation=classifier_interrelation(weights).numpy(),
        estimator='classifier',
    ).save(root / 'сost.npz')
    meta = dict(dataset_meta=dict(classes=classes))
    torch.save(
        dict(state_dict=teacher.state_dict(), meta=meta), root / 'учитель.pth'
    )
    dataset = dict(
        type='CocoDataset',
        data_root=str(root),
        ann_file='box es.json',
        metainfo=dict(classes=classes),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='Resize', scale=(64, 64), keep_ratio=True),
            dict(type='PackDetInputs'),
        ],
    )
    student = tiny_faster_rcnn(num_classes=len(classes))
    return root, {
        'train_dataloader.dataset': dataset,
        'train_cfg': dict(max_epochs=1, val_interval=9),
        'model.student': student,
        'model.teacher.config': student,
        'model.teacher.checkpoint': str(root / 'учитель.pth'),
        'model.logit_loss.cost': str(root / 'сost.npz'),
        'work_dir': str(root / 'work dir'),
    }


def test_broken_annotations_and_foreign_names(train, hostile):
    root, changes = hostile
    losses = Losses()
    runner = train(hooks=[losses], **changes)
    assert len(losses.seen) == 6  # 11 images, those without boxes included
    for seen in losses.seen:
        assert seen.keys() >= {'loss_cls', 'loss_wkd_logit_transport'}
        assert np.isfinite(list(seen.values())).all(), seen
    weights = read_weights(str(root / 'work dir' / 'epoch_1.pth'))
    dataset = runner.train_dataloader.dataset
    assert weights.classes == dataset.metainfo['classes']


def test_an_infinite_box_is_named(train, hostile):
    root, changes = hostile
    # boxes that are loaded behind Resize are not clipped to the image
    del changes['train_dataloader.dataset']['pipeline']
    with pytest.raises(
        ValueError, match='a box in .*фото 8.jpg is not finite'
    ):
        train(**changes)


def test_a_truncated_photograph_is_named(train, hostile):
    root, changes = hostile
    photo = root / 'train' / 'фото 3.jpg'
    photo.write_bytes(photo.read_bytes()[:-200])
    with pytest.raises(
        AssertionError, match=f'failed to load image: .*{photo.name}'
    ):
        train(**changes)
