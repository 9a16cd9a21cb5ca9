import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import pearsonr
from torch.testing import assert_close

from mmwkd.functional import (
    cwd_term,
    fitnet_term,
    pkd_term,
)


def random_maps(n=4, d=3, h=5, w=6):
    return (
        torch.randn(n, d, h, w, dtype=torch.float64),
        2 * torch.randn(n, d, h, w, dtype=torch.float64) + 1,
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
