"""Optimizer constructors choose by name what they choose in plain training."""

import pytest
from mmdet.registry import MODELS
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmwkd.testing import tiny_faster_rcnn


class ConvNeXtLike(nn.Module):
    """Parameters named as ConvNeXt's; mmpretrain need not be installed."""

    def __init__(self):
        super().__init__()
        self.downsample_layers = nn.ModuleList(
            nn.Conv2d(8 if i else 3, 8, 2, 2 if i else 4, 0) for i in range(4)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 8, 1)) for _ in range(4)
        )

    def forward(self, x):
        maps = []
        for down, stage in zip(
            self.downsample_layers, self.stages, strict=True
        ):
            x = stage(down(x))
            maps.append(x)
        return maps


@pytest.fixture
def build_pair(build):
    """A distiller and the plain student that it trains."""

    def build_both(backbone=None):
        student = tiny_faster_rcnn()
        if backbone is not None:
            student.backbone = dict(type=backbone)
            student.neck.in_channels = [8] * 4
        return build(student=student), MODELS.build(student)

    return build_both


def options(model, cfg):
    """Learning rate and weight decay of each parameter, by its name."""
    optimizer = build_optim_wrapper(model, cfg).optimizer
    groups = {
        id(value): (group['lr'], group['weight_decay'])
        for group in optimizer.param_groups
        for value in group['params']
    }
    return {name: groups[id(x)] for name, x in model.named_parameters()}


def without_adapters(named):
    return {k: v for k, v in named.items() if not k.startswith('adapters.')}


@pytest.mark.parametrize('prefix', ['', 'ema'])
def test_parameters_have_the_names_of_the_plain_student(build_pair, prefix):
    distiller, plain = build_pair()
    named = dict(distiller.named_parameters(prefix))
    start = f'{prefix}.' if prefix else ''
    assert [
        name for name in named if not name.startswith(f'{start}adapters.')
    ] == [name for name, _ in plain.named_parameters(prefix)]
    assert any(name.startswith(f'{start}adapters.') for name in named)
    assert len(named) == len(list(distiller.parameters()))
    for name, value in named.items():
        assert distiller.get_parameter(name.removeprefix(start)) is value


def test_custom_keys_find_the_student(build_pair):
    cfg = dict(
        type='OptimWrapper',
        optimizer=dict(type='SGD', lr=1.0, weight_decay=0.1),
        paramwise_cfg=dict(
            norm_decay_mult=0.0,
            custom_keys={'backbone': dict(lr_mult=0.1)},
        ),
    )
    distiller, plain = (options(model, cfg) for model in build_pair())
    assert without_adapters(distiller) == plain
    assert {lr for lr, _ in plain.values()} == {1.0, 0.1}


def test_layer_wise_learning_rates_are_the_plain_students(build_pair):
    cfg = dict(
        type='OptimWrapper',
        constructor='LearningRateDecayOptimizerConstructor',
        optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.1),
        paramwise_cfg=dict(
            decay_rate=0.5, decay_type='layer_wise', num_layers=6
        ),
    )
    pair = build_pair(backbone=ConvNeXtLike)
    distiller, plain = (options(model, cfg) for model in pair)
    assert without_adapters(distiller) == plain
    assert len({lr for lr, _ in plain.values()}) > 4
    adapters = set(distiller.items()) - set(plain.items())
    assert {lr for _, (lr, _) in adapters} == {1.0}
