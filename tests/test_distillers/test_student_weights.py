"""Weights of torchvision, in environments that do not have it."""

import sys

import pytest
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.model import PretrainedInit
from mmengine.runner import checkpoint

from mmwkd.distillers.student_weights import without_torchvision
from mmwkd.testing import tiny_faster_rcnn

RESNET18 = 'https://download.pytorch.org/models/resnet18-f37072fd.pth'
RESNET50 = 'https://download.pytorch.org/models/resnet50-0676ba61.pth'
PRETRAINED = dict(type='Pretrained', checkpoint='torchvision://resnet18')


@pytest.fixture
def no_torchvision(monkeypatch):
    monkeypatch.setitem(sys.modules, 'torchvision', None)


@pytest.fixture
def fetched(monkeypatch):
    """URLs that mmengine downloads; each file has no weight."""
    urls = []

    def load_url(url, **options):
        urls.append(url)
        return {}

    monkeypatch.setattr(checkpoint, 'load_url', load_url)
    return urls


def distiller_of(**backbone):
    student = tiny_faster_rcnn()
    student.backbone.update(backbone)
    return dict(
        type='DetectorDistiller',
        student=student,
        teacher=dict(config=tiny_faster_rcnn(), allow_random=True),
        neck_loss=dict(type='WKDFeatureLoss', grid=2),
    )


@pytest.mark.parametrize(
    'backbone',
    [
        dict(init_cfg=PRETRAINED),
        dict(init_cfg=[PRETRAINED]),
        dict(init_cfg=dict(PRETRAINED, type=PretrainedInit)),
        dict(init_cfg=dict(PRETRAINED, checkpoint='modelzoo://resnet18')),
        dict(pretrained='torchvision://resnet18'),
    ],
)
@pytest.mark.usefixtures('no_torchvision')
def test_a_student_starts_without_torchvision(backbone, fetched):
    MODELS.build(distiller_of(**backbone)).init_weights()
    assert fetched == [RESNET18]


def test_the_files_are_those_of_torchvision(no_torchvision):
    names = ('resnet18', 'resnet50', 'mobilenet_v2')
    urls = [without_torchvision(f'torchvision://{name}') for name in names]
    assert urls == [
        RESNET18,
        RESNET50,
        'https://download.pytorch.org/models/mobilenet_v2-b0353104.pth',
    ]


@pytest.mark.usefixtures('no_torchvision')
def test_weights_that_only_torchvision_knows_are_named_at_build_time():
    name = 'torchvision://resnet50.imagenet1k_v2'
    config = distiller_of(init_cfg=dict(PRETRAINED, checkpoint=name))
    with pytest.raises(ValueError, match=f'{name} .* install it'):
        MODELS.build(config)


def test_with_torchvision_nothing_changes(monkeypatch):
    monkeypatch.setitem(sys.modules, 'torchvision', object())
    config = distiller_of(init_cfg=PRETRAINED)
    assert without_torchvision(config) == config


def test_the_config_itself_stays_as_it_is(no_torchvision):
    config = Config(dict(backbone=dict(stages=(dict(init_cfg=PRETRAINED),))))
    changed = without_torchvision(config._cfg_dict)
    assert changed.backbone.stages[0].init_cfg.checkpoint == RESNET18
    assert config.backbone.stages[0].init_cfg == PRETRAINED
