"""Transport that keeps the costs of some categories alone."""

import pytest
import torch
from torch.testing import assert_close

from mmwkd.functional import sinkhorn_cost, transport_term


def families(num_categories=24, size=4, near=0.2, far=0.9):
    """Costs that are low within a family, and high between two."""
    family = torch.arange(num_categories, dtype=torch.float64) // size
    cost = torch.where(family[:, None] == family, near, far)
    return cost.fill_diagonal_(0)


def equal_costs(num_categories=12):
    cost = torch.full((num_categories, num_categories), 0.7).double()
    return cost.fill_diagonal_(0)


def logits(rows=6, num_categories=12, seed=0):
    draw = torch.Generator().manual_seed(seed)
    shape = (rows, num_categories)
    student, teacher = (
        2 * torch.randn(shape, generator=draw, dtype=torch.float64)
        for _ in range(2)
    )
    target = torch.randint(num_categories, (rows,), generator=draw)
    return student.requires_grad_(), teacher, target


def value_and_gradient(student, *others, **options):
    value = transport_term(student, *others, **options)
    return value, torch.autograd.grad(value.sum(), student)[0]


@pytest.mark.parametrize('separate', [True, False])
@pytest.mark.parametrize('domain', ['plain', 'log'])
@pytest.mark.parametrize('kept', [1, 5, 11, 12, 40])
def test_means_of_equal_costs_change_nothing(kept, domain, separate):
    student, teacher, target = logits()
    arguments = student, teacher, equal_costs(), target if separate else None
    assert_close(
        value_and_gradient(*arguments, domain=domain, max_categories=kept),
        value_and_gradient(*arguments, domain=domain),
    )


@pytest.mark.parametrize('domain', ['plain', 'log'])
def test_one_sided_costs_keep_their_direction(domain):
    """Of one category of the rest the means are its costs."""
    draw = torch.Generator().manual_seed(1)
    cost = torch.rand(6, 6, generator=draw, dtype=torch.float64)
    cost.fill_diagonal_(0)
    source, sink = (
        torch.rand(4, 6, generator=draw, dtype=torch.float64).softmax(1)
        for _ in range(2)
    )
    assert_close(
        sinkhorn_cost(source, sink, cost, domain=domain, max_categories=5),
        sinkhorn_cost(source, sink, cost, domain=domain),
    )


def test_gradients_pass_gradcheck():
    student, teacher, target = logits(3, 8)
    assert torch.autograd.gradcheck(
        lambda x: transport_term(
            x, teacher, families(8), target, max_categories=3
        ),
        student,
    )


def test_more_categories_come_nearer():
    student, teacher, target = logits(30, 24)
    options = dict(reg=0.1, num_iters=20)
    arguments = student, teacher, families(), target
    whole, slope = value_and_gradient(*arguments, **options)
    errors, turns = [], []
    for kept in (4, 16, 23):
        value, gradient = value_and_gradient(
            *arguments, **options, max_categories=kept
        )
        errors.append((value - whole).abs().sum())
        turns.append((gradient - slope).norm())
    assert errors == sorted(errors, reverse=True)
    assert turns == sorted(turns, reverse=True)
    assert errors[0] < 0.5 * whole.sum()


def test_the_probable_categories_are_kept():
    """Mass that stays in a family is moved at that family's cost."""
    student = torch.full((2, 24), -30.0, dtype=torch.float64)
    teacher = student.clone()
    student[:, 20], teacher[:, 21] = 30, 30
    options = dict(max_categories=2, reg=0.05)
    (value, _) = transport_term(student, teacher, families(), **options)
    assert_close(value.item(), 0.2, rtol=1e-3, atol=0)


def test_no_rois_and_broken_rois():
    cost = families(12)
    empty = torch.zeros(0, 12, requires_grad=True)
    value = transport_term(empty, empty, cost, max_categories=3)
    value.sum().backward()
    assert value.shape == (0,)
    student, teacher, target = logits()
    with torch.no_grad():
        student[2, 1] = torch.nan
    value = transport_term(student, teacher, cost, target, max_categories=3)
    assert value.isfinite().tolist() == [True, True, False, True, True, True]


def test_none_is_refused():
    student, teacher, target = logits()
    with pytest.raises(ValueError, match='max_categories must be at least 1'):
        transport_term(
            student, teacher, families(12), target, max_categories=0
        )
