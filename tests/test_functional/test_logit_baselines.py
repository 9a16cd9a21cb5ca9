import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmwkd.functional import dkd_terms, kd_term


def random_logits(rows=6, size=7):
    return (
        2 * torch.randn(rows, size, dtype=torch.float64),
        2 * torch.randn(rows, size, dtype=torch.float64),
        torch.randint(size, (rows,)),
    )


def others(logits, target):
    """Logits of all categories but the target, row by row."""
    return torch.stack(
        [
            torch.cat([row[:t], row[t + 1 :]])
            for row, t in zip(logits, target.tolist(), strict=True)
        ]
    )


def divergence(q, p):
    """The textbook sum over categories."""
    return (q * (q / p).log()).sum(dim=1)


def test_kd_is_batchmean_of_torch():
    student, teacher, _ = random_logits()
    expected = 9 * F.kl_div(
        (student / 3).log_softmax(1),
        (teacher / 3).softmax(1),
        reduction='batchmean',
    )
    assert_close(kd_term(student, teacher, temperature=3.0).mean(), expected)


def test_kd_approaches_squared_differences_at_high_temperature():
    student, teacher, _ = random_logits()
    difference = student - teacher
    expected = 0.5 * difference.var(dim=1, correction=0)
    actual = kd_term(student, teacher, temperature=1e4)
    assert_close(actual, expected, rtol=1e-3, atol=0)


def test_dkd_is_two_textbook_divergences():
    student, teacher, target = random_logits()
    rows = torch.arange(len(target))
    p_t = (student / 3).softmax(1)[rows, target]
    q_t = (teacher / 3).softmax(1)[rows, target]
    tckd, nckd = dkd_terms(student, teacher, target, temperature=3.0)
    assert_close(
        tckd,
        9
        * divergence(
            torch.stack([q_t, 1 - q_t], 1), torch.stack([p_t, 1 - p_t], 1)
        ),
    )
    assert_close(
        nckd,
        9
        * divergence(
            (others(teacher, target) / 3).softmax(1),
            (others(student, target) / 3).softmax(1),
        ),
    )


@pytest.mark.parametrize('temperature', [1.0, 4.0])
def test_kd_is_tckd_plus_weighted_nckd(temperature):
    student, teacher, target = random_logits()
    options = dict(temperature=temperature)
    tckd, nckd = dkd_terms(student, teacher, target, **options)
    q_t = (teacher / temperature).softmax(1).gather(1, target[:, None])[:, 0]
    assert_close(kd_term(student, teacher, **options), tckd + (1 - q_t) * nckd)


def test_rest_has_no_gradient_at_the_target():
    student, teacher, target = random_logits()
    student.requires_grad_()
    dkd_terms(student, teacher, target)[1].sum().backward()
    at_target = student.grad.gather(1, target[:, None])
    assert_close(at_target, torch.zeros_like(at_target))
    assert (student.grad != 0).sum() == 6 * 6


def test_two_categories_leave_no_rest():
    student, teacher, target = random_logits(size=2)
    student.requires_grad_()
    on_target, rest = dkd_terms(student, teacher, target)
    assert_close(rest, torch.zeros_like(rest))
    (gradient,) = torch.autograd.grad((on_target + rest).sum(), student)
    assert gradient.isfinite().all()
    assert_close(on_target, kd_term(student, teacher))


def test_shifts_and_permutations_change_nothing():
    student, teacher, target = random_logits()
    order = torch.randperm(7)
    permuted = dkd_terms(
        student[:, order] + 3, teacher[:, order] - 5, order.argsort()[target]
    )
    assert_close(permuted, dkd_terms(student, teacher, target))
    assert_close(
        kd_term(student[:, order] + 3, teacher[:, order] - 5),
        kd_term(student, teacher),
    )


def test_targets_must_fit():
    student, teacher, target = random_logits()
    with pytest.raises(ValueError, match=r'target must have shape \(6,\)'):
        dkd_terms(student, teacher, target[:4])
    with pytest.raises(ValueError, match='int64 or int32, got torch.float64'):
        dkd_terms(student, teacher, target.double())
