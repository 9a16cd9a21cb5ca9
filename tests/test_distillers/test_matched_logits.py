"""Predictions of both detectors meet where they are about one box."""

import copy

import pytest
import torch
from mmengine.hub import get_config

from mmwkd.testing import (
    shrink,
)
from tests.test_families import tiny

KEY = 'loss_kd_logit_kl'


def atss():
    return shrink(
        get_config('mmdet::atss/atss_r18_fpn_8xb8-amp-lsj-200e_coco.py').model,
        factor=8,
    )


@pytest.fixture
def build_pair(build):
    def build_distiller(student, teacher, **changes):
        return build(
            **{
                'student': student,
                'teacher': dict(config=teacher, allow_random=True),
                'logit_loss': dict(type='KDLoss'),
                'neck_loss': None,
                'roi_loss': None,
                **changes,
            }
        )

    return build_distiller


QUERIES = [
    'detr/detr_r50_8xb2-150e_coco.py',
    'conditional_detr/conditional-detr_r50_8xb2-50e_coco.py',
    'dab_detr/dab-detr_r50_8xb2-50e_coco.py',
    'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
    'dino/dino-4scale_r50_8xb2-12e_coco.py',
    'sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py',
]


def trained(detector):
    """Let queries have boxes of their own, and passes no randomness.

    In eval mode, some detectors with queries cannot compute their losses.
    """
    torch.manual_seed(1)
    for value in detector.parameters():
        if value.dim() > 1:
            value.data += 0.1 * torch.randn_like(value)
    for module in detector.train().modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
        for name in ('p', 'dropout'):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


@pytest.mark.parametrize('config', QUERIES)
def test_equal_detectors_with_queries_are_at_distance_0(
    config, build_pair, step
):
    model = tiny(config, factor=8)
    distiller = build_pair(model, copy.deepcopy(model))
    trained(distiller.student)
    distiller.teacher.load_state_dict(distiller.student.state_dict())
    assert step(distiller)[KEY].abs() < 1e-6
    for name, value in distiller.teacher.named_parameters():
        if 'cls' in name and name.endswith('bias'):
            value.data[0] += 1
    loss = step(distiller)[KEY]
    assert loss > 1e-4
    loss.backward()
    trained_ = [
        name
        for name, value in distiller.student.named_parameters()
        if value.grad is not None and value.grad.any()
    ]
    assert any('cls' in name for name in trained_)
    assert not any(
        'fc_reg' in name or 'reg_branch' in name for name in trained_
    )
