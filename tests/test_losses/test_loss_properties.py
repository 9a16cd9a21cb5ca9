"""What every registered loss does with any input."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmdet.registry import MODELS
from torch.testing import assert_close

import mmwkd.losses
from mmwkd.losses import DistillationLoss, WKDLogitLoss
from tests.strategies import deltas, logits, maps, quick

LOSSES = sorted(
    name
    for name in mmwkd.losses.__all__
    if isinstance(MODELS.get(name), type)
    and issubclass(MODELS.get(name), DistillationLoss)
)


def build(name, num_categories, **options):
    loss = MODELS.build(dict(type=name, **options))
    if isinstance(loss, WKDLogitLoss):
        draw = torch.Generator().manual_seed(num_categories)
        loss.bind(
            torch.randn(num_categories, 8, generator=draw), num_categories
        )
    return loss


@pytest.mark.parametrize('name', LOSSES)
@quick
@given(
    logits(),
    maps(),
    deltas(),
    st.sampled_from([None, 0.0, 1.0, 'random']),
    st.sampled_from([None, 1, 7.0]),
    st.sampled_from([0.0, 0.3, 1.0]),
)
def test_every_loss_is_finite_and_linear_in_its_weight(
    name, on_logits, on_maps, on_boxes, weight, avg_factor, loss_weight
):
    loss = build(name, on_logits[0].shape[1])
    student, *others = dict(
        logits=on_logits, features=on_maps, boxes=on_boxes
    )[loss.compares]
    student = student.detach().requires_grad_()
    if weight is not None:
        shape = len(student)
        weight = (
            torch.rand(shape)
            if weight == 'random'
            else torch.full((shape,), weight)
        )
    value = loss(student, *others, weight=weight, avg_factor=avg_factor)
    assert value.shape == ()
    assert value.isfinite()
    (gradient,) = torch.autograd.grad(value, student)
    assert not gradient.isnan().any()
    each = loss(student, *others, weight=weight, reduction_override='none')
    assert each.shape == (len(student),)
    if not len(student):
        assert value == 0
        return
    close = dict(rtol=1e-4, atol=1e-5 * max(1, each.abs().max().item()))
    assert_close(value, each.sum() / (avg_factor or len(student)), **close)
    scaled = build(name, on_logits[0].shape[1], loss_weight=loss_weight)
    assert_close(
        scaled(student, *others, weight=weight, avg_factor=avg_factor),
        loss_weight * value,
        **close,
    )


def test_every_registered_loss_is_tried():
    registered = {
        kind.__name__
        for kind in MODELS.module_dict.values()
        if isinstance(kind, type)
        and issubclass(kind, DistillationLoss)
        and kind.__module__.startswith('mmwkd')
    }
    assert set(LOSSES) == registered


def test_one_class_leaves_the_target_term_alone():
    loss = build('WKDLogitLoss', 2)
    student = (100 * torch.randn(6, 2)).requires_grad_()
    teacher, target = torch.randn(6, 2), torch.tensor([0, 1, 0, 1, 1, 0])
    terms = loss.terms(student, teacher, target)
    assert torch.equal(terms['transport'], torch.zeros(6))
    (gradient,) = torch.autograd.grad(terms['transport'].sum(), student)
    assert torch.equal(gradient, torch.zeros(6, 2))
    assert torch.equal(loss(student, teacher, target), terms['target'].mean())


def test_one_class_without_separation_moves_mass_between_two_points():
    loss = build('WKDLogitLoss', 2, separate_target=False, temperature=1.0)
    sure = torch.tensor([[50.0, -50.0]])
    far = loss.ground_cost[0, 1]
    (there,) = loss.terms(sure, -sure, torch.tensor([0]))['transport']
    # ten iterations come near the way that all mass has to go
    assert 0.9 * loss.gamma * far < there <= loss.gamma * far
    (stay,) = loss.terms(sure, sure, torch.tensor([0]))['transport']
    assert abs(stay) < 1e-6


@pytest.mark.parametrize(
    'name',
    [name for name in LOSSES if MODELS.get(name).compares == 'features'],
)
def test_padding_takes_no_part_in_a_loss_on_maps(name):
    loss = MODELS.build(dict(type=name))
    student, teacher = torch.randn(2, 3, 4, 6, 5)
    extents = torch.tensor([[6, 3], [2, 5], [4, 4]])
    expected = loss(student, teacher, extents=extents)
    assert expected != loss(student, teacher)
    for feats in (student, teacher):
        for each, (height, width) in zip(feats, extents, strict=True):
            each[:, height:] = each[..., width:] = torch.nan
    assert_close(loss(student, teacher, extents=extents), expected)
    assert tuple(loss.terms(student, teacher, extents)) == loss.term_names
