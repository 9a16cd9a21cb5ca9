"""Datasets of one class (K = 2) and of two, through a whole step."""

import pytest
import torch
from mmdet.registry import MODELS

from mmwkd.testing import tiny_batch, tiny_faster_rcnn

LOGIT_LOSSES = ('WKDLogitLoss', 'KDLoss', 'DKDLoss')
# terms on the categories other than the target, of which there is one
EXACTLY_ZERO = ('loss_wkd_logit_transport', 'loss_dkd_logit_nontarget')


def take_step(num_classes, **logit_loss):
    torch.manual_seed(0)
    distiller = MODELS.build(
        dict(
            type='DetectorDistiller',
            student=tiny_faster_rcnn(num_classes=num_classes),
            teacher=dict(
                config=tiny_faster_rcnn(
                    num_classes=num_classes, base_channels=12
                ),
                allow_random=True,
            ),
            logit_loss=logit_loss,
            neck_loss=dict(type='WKDFeatureLoss'),
            roi_loss=dict(type='WKDFeatureLoss'),
        )
    )
    batch = tiny_batch(num_classes=num_classes)
    data = distiller.data_preprocessor(batch, training=True)
    losses = distiller(**data, mode='loss')
    total, _ = distiller.parse_losses(losses)
    total.backward()
    return distiller, losses


def check_finite(distiller, losses):
    values = [v for v in losses.values() if isinstance(v, torch.Tensor)]
    assert all(value.isfinite().all() for value in values)
    for name, parameter in distiller.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize('num_classes', [1, 2])
@pytest.mark.parametrize('name', LOGIT_LOSSES)
def test_a_step_of_every_logit_loss_is_finite(name, num_classes):
    distiller, losses = take_step(num_classes, type=name)
    check_finite(distiller, losses)
    for key in EXACTLY_ZERO:
        if key in losses:
            assert losses[key].requires_grad
            assert (losses[key] == 0) == (num_classes == 1)


def test_one_class_without_target_separation_still_transports():
    distiller, losses = take_step(
        1, type='WKDLogitLoss', separate_target=False
    )
    check_finite(distiller, losses)
    assert losses['loss_wkd_logit_transport'] > 0
