import math

import numpy as np
import ot
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import pearsonr
from torch.testing import assert_close

from mmwkd.functional import (
    cwd_term,
    emd_term,
    fitnet_term,
    ickd_term,
    pkd_term,
    sinkhorn_plan,
)


def random_maps(n=4, d=3, h=5, w=6):
    return (
        torch.randn(n, d, h, w, dtype=torch.float64),
        2 * torch.randn(n, d, h, w, dtype=torch.float64) + 1,
    )


def cosine_cost(student, teacher):
    return 1 - F.cosine_similarity(
        student.flatten(1)[:, None], teacher.flatten(1)[None], dim=2
    )


def test_fitnet_is_the_mean_squared_error():
    student, teacher = random_maps()
    assert_close(
        fitnet_term(student, teacher).mean(), F.mse_loss(student, teacher)
    )


def test_pkd_is_one_minus_pearson():
    student, teacher = random_maps()
    correlations = [
        pearsonr(student[:, d].flatten(), teacher[:, d].flatten()).statistic
        for d in range(3)
    ]
    actual = pkd_term(student, teacher, eps=1e-14).mean()
    assert_close(actual.item(), 1 - np.mean(correlations))


def test_pkd_ignores_scale_and_offset_of_channels():
    student, teacher = random_maps()
    scale, offset = (
        torch.rand(3, 1, 1, dtype=torch.float64) + 0.5 for _ in range(2)
    )
    assert_close(
        pkd_term(scale * student + offset, teacher, eps=1e-14),
        pkd_term(student, teacher, eps=1e-14),
    )
    opposite = pkd_term(-scale * teacher, teacher, eps=1e-14)
    assert_close(opposite.mean().item(), 2.0)


def test_cwd_equals_a_loop_over_channels():
    student, teacher = random_maps()
    expected = torch.zeros(4, dtype=torch.float64)
    for n in range(4):
        for d in range(3):
            p = (student[n, d].flatten() / 2).softmax(0)
            q = (teacher[n, d].flatten() / 2).softmax(0)
            expected[n] += 4 * (q * (q / p).log()).sum() / 3
    assert_close(cwd_term(student, teacher, temperature=2.0), expected)


def test_cwd_ignores_offsets_of_channels():
    student, teacher = random_maps()
    offset = torch.randn(4, 3, 1, 1, dtype=torch.float64)
    assert_close(
        cwd_term(student + offset, teacher), cwd_term(student, teacher)
    )


def test_ickd_equals_a_loop_over_channels():
    student, teacher = random_maps()
    expected = torch.zeros(4, dtype=torch.float64)
    for n in range(4):
        for d in range(3):
            rows = []
            for feats in (student, teacher):
                row = torch.stack(
                    [(feats[n, d] * feats[n, j]).sum() for j in range(3)]
                )
                rows.append(row / row.square().sum().sqrt())
            expected[n] += (rows[0] - rows[1]).square().sum() / 3
    assert_close(ickd_term(student, teacher), expected)


def test_ickd_ignores_where_things_are_and_how_large():
    student, teacher = random_maps()
    order = torch.randperm(30)
    shuffled = student.flatten(2)[..., order].view_as(student)
    assert_close(ickd_term(3 * shuffled, teacher), ickd_term(student, teacher))


def test_plan_agrees_with_pot():
    cost = torch.rand(5, 7, dtype=torch.float64)
    plan = sinkhorn_plan(cost, reg=0.1, num_iters=2000)
    expected = ot.sinkhorn(
        ot.unif(5),
        ot.unif(7),
        cost.numpy(),
        0.1,
        method='sinkhorn_log',
        numItermax=5000,
        stopThr=1e-14,
    )
    assert_close(plan, torch.from_numpy(expected))


def test_rows_of_a_plan_are_met_after_one_iteration():
    cost = torch.rand(5, 7, dtype=torch.float64)
    plan = sinkhorn_plan(cost, num_iters=1)
    assert_close(plan.sum(dim=1), torch.full((5,), 1 / 5).double())


def test_plan_in_float32_survives_the_largest_costs_of_emd():
    cost = 2 * (1 - torch.eye(6))[torch.randperm(6)]
    plan = sinkhorn_plan(cost, reg=0.05, num_iters=10)
    assert_close(plan, (cost == 0).float() / 6)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(reg=0), 'reg must be positive, got 0'),
        (dict(num_iters=0), 'num_iters must be at least 1, got 0'),
    ],
)
def test_bad_options_of_a_plan_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        sinkhorn_plan(torch.rand(2, 2), **options)


def test_emd_is_the_transport_cost_of_pot():
    student, teacher = random_maps(n=6)
    expected = ot.sinkhorn2(
        ot.unif(6),
        ot.unif(6),
        cosine_cost(student, teacher).numpy(),
        0.1,
        method='sinkhorn_log',
        numItermax=5000,
        stopThr=1e-14,
    )
    actual = emd_term(student, teacher, reg=0.1, num_iters=3000)
    assert_close(actual.mean().item(), float(expected))


def test_emd_is_near_exact_transport():
    student, teacher = random_maps(n=6)
    cost = cosine_cost(student, teacher).numpy()
    exact = ot.emd2(ot.unif(6), ot.unif(6), cost)
    biases = [
        emd_term(student, teacher, reg=reg, num_iters=5000).mean().item()
        - exact
        for reg in (0.4, 0.2, 0.1, 0.05)
    ]
    assert biases == sorted(biases, reverse=True)
    assert 0 <= biases[-1] < 0.05 * exact


def test_emd_does_not_know_which_maps_belong_together():
    student, teacher = random_maps(n=6)
    shuffled = teacher[torch.randperm(6)]
    assert_close(emd_term(student, shuffled), emd_term(student, teacher))


def test_emd_gradient_is_that_of_the_entropic_minimum():
    student, teacher = random_maps(n=4, d=2, h=1, w=2)
    reg = 0.2

    def minimum(feats):
        plan = ot.sinkhorn(
            ot.unif(4),
            ot.unif(4),
            cosine_cost(feats, teacher).numpy(),
            reg,
            method='sinkhorn_log',
            numItermax=20000,
            stopThr=1e-15,
        )
        cost = cosine_cost(feats, teacher).numpy()
        return (plan * cost).sum() + reg * (plan * np.log(plan)).sum()

    expected = torch.zeros_like(student)
    step = 1e-5
    for index in range(student.numel()):
        moved = student.clone().flatten()
        values = []
        for sign in (1, -1):
            moved[index] = student.flatten()[index] + sign * step
            values.append(minimum(moved.view_as(student)))
        expected.view(-1)[index] = (values[0] - values[1]) / (2 * step)
    student.requires_grad_()
    total = emd_term(student, teacher, reg=reg, num_iters=3000).mean()
    (gradient,) = torch.autograd.grad(total, student)
    assert_close(gradient, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(reg=0.04), 'reg must be at least 0.05, got 0.04'),
        (dict(reg=math.nan), 'reg must be at least 0.05, got nan'),
        (dict(num_iters=0), 'num_iters must be at least 1, got 0'),
    ],
)
def test_bad_options_of_emd_are_refused(options, message):
    student, teacher = random_maps()
    with pytest.raises(ValueError, match=message):
        emd_term(student, teacher, **options)
