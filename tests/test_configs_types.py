"""Types of configs may be names or classes."""

import pytest
from mmdet.models import FasterRCNN
from mmengine.model import PretrainedInit

from mmwkd.configs import is_distiller, without_pretrained
from mmwkd.distillers import DetectorDistiller, build_teacher
from mmwkd.testing import tiny_faster_rcnn

NORMAL = dict(type='Normal', layer='Conv2d', std=0.1)


class OwnDistiller(DetectorDistiller):
    """A user's."""


@pytest.mark.parametrize(
    ('kind', 'expected'),
    [
        ('DetectorDistiller', True),
        ('mmdet.DetectorDistiller', True),
        ('mmwkd.DetectorDistiller', True),
        (DetectorDistiller, True),
        (OwnDistiller, True),
        ('FasterRCNN', False),
        (FasterRCNN, False),
        ('NotRegistered', False),
        (None, False),
    ],
)
def test_a_distiller_is_known_by_its_class(kind, expected):
    assert is_distiller(dict(type=kind)) is expected


@pytest.mark.parametrize(
    ('init_cfg', 'expected'),
    [
        (dict(type='Pretrained', checkpoint='no.pth'), None),
        (dict(type='mmengine.Pretrained', checkpoint='no.pth'), None),
        (dict(type='PretrainedInit', checkpoint='no.pth'), None),
        (dict(type=PretrainedInit, checkpoint='no.pth'), None),
        ([dict(type=PretrainedInit, checkpoint='no.pth'), NORMAL], [NORMAL]),
        (NORMAL, NORMAL),
        ([NORMAL], [NORMAL]),
        (None, None),
    ],
)
def test_no_teacher_loads_what_its_checkpoint_has(init_cfg, expected):
    config = tiny_faster_rcnn()
    config.backbone.init_cfg = init_cfg
    assert without_pretrained(config).backbone.init_cfg == expected
    config.backbone.init_cfg = init_cfg
    build_teacher(dict(config=config, allow_random=True))
