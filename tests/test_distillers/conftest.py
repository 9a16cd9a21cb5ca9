"""A tiny student and teacher, and a distiller around them."""

import pytest
import torch
from mmdet.registry import MODELS

from mmwkd.testing import tiny_batch, tiny_faster_rcnn

LOSSES = dict(
    logit_loss=dict(type='WKDLogitLoss'),
    neck_loss=dict(type='WKDFeatureLoss', grid=2),
    roi_loss=dict(type='WKDFeatureLoss', grid=4),
)


@pytest.fixture(scope='session')
def teacher_checkpoint(tmp_path_factory):
    """A checkpoint with random weights, as mmengine writes one."""
    torch.manual_seed(1)
    detector = MODELS.build(teacher_config())
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    torch.save(
        dict(
            state_dict=detector.state_dict(),
            meta=dict(dataset_meta=dict(classes=('cat', 'dog', 'bus'))),
        ),
        path,
    )
    return path


def teacher_config(**options):
    return tiny_faster_rcnn(
        **{**dict(base_channels=12, neck_channels=24), **options}
    )


def cascade_rcnn():
    """The tiny detector with three stages of box heads."""
    cfg = tiny_faster_rcnn()
    cfg.type = 'CascadeRCNN'
    cfg.roi_head.update(
        type='CascadeRoIHead',
        num_stages=3,
        stage_loss_weights=[1, 0.5, 0.25],
        bbox_head=[
            dict(cfg.roi_head.bbox_head, reg_class_agnostic=True)
            for _ in range(3)
        ],
    )
    cfg.train_cfg.rcnn = [cfg.train_cfg.rcnn for _ in range(3)]
    return cfg


def distiller_config(checkpoint, **changes):
    """Config of a distiller with all three losses; None leaves one out.

    Losses have the scale of their formulas, to be compared with them.
    """
    cfg = dict(
        type='DetectorDistiller',
        balance_interval=0,
        student=tiny_faster_rcnn(),
        teacher=dict(config=teacher_config(), checkpoint=str(checkpoint)),
        **LOSSES,
    )
    cfg.update(changes)
    return cfg


@pytest.fixture
def build(teacher_checkpoint):
    """Build a distiller from changes to the default config."""

    def build_distiller(**changes):
        distiller = MODELS.build(
            distiller_config(teacher_checkpoint, **changes)
        )
        distiller.init_weights()
        return distiller

    return build_distiller


@pytest.fixture
def step():
    """Losses of one training batch."""

    def run(distiller, batch=None, **batch_options):
        batch = batch or tiny_batch(**batch_options)
        data = distiller.data_preprocessor(batch, training=True)
        return distiller(**data, mode='loss')

    return run
