"""Laws that hold for every baseline, whatever its formula."""

import pytest
import torch
from torch.testing import assert_close

from mmwkd.functional import (
    cwd_term,
    dkd_terms,
    fitnet_term,
    kd_term,
    pkd_term,
)

NUM_CATEGORIES = 5


def targets(logits):
    return torch.arange(len(logits)) % NUM_CATEGORIES


LOGIT_TERMS = {
    'kd': lambda s, t: kd_term(s, t, temperature=2.0),
    'tckd': lambda s, t: dkd_terms(s, t, targets(s), temperature=2.0)[0],
    'nckd': lambda s, t: dkd_terms(s, t, targets(s), temperature=2.0)[1],
}
FEATURE_TERMS = {
    'fitnet': fitnet_term,
    'pkd': pkd_term,
    'cwd': lambda s, t: cwd_term(s, t, temperature=2.0),
}
TERMS = LOGIT_TERMS | FEATURE_TERMS


def pair(name, size=6, *, dtype=torch.float64):
    shape = (size, NUM_CATEGORIES) if name in LOGIT_TERMS else (size, 3, 2, 4)
    return (
        2 * torch.randn(shape, dtype=dtype),
        3 * torch.randn(shape, dtype=dtype) + 1,
    )


def gradient_of(name, student, teacher):
    student = student.clone().requires_grad_()
    total = TERMS[name](student, teacher).sum()
    return torch.autograd.grad(total, student)[0]


@pytest.mark.parametrize('name', sorted(TERMS))
def test_gradients_pass_gradcheck(name):
    student, teacher = pair(name, 3)
    assert torch.autograd.gradcheck(
        lambda x: TERMS[name](x, teacher), student.requires_grad_()
    )


@pytest.mark.parametrize('name', sorted(TERMS))
def test_divergences_are_positive_and_0_for_equal_sides(name):
    student, teacher = pair(name)
    assert (TERMS[name](student, teacher) > 0).all()
    value = TERMS[name](teacher, teacher)
    assert_close(value, torch.zeros_like(value), rtol=0, atol=1e-12)


@pytest.mark.parametrize('name', sorted(TERMS))
def test_equal_sides_are_at_a_minimum(name):
    _, teacher = pair(name)
    gradient = gradient_of(name, teacher, teacher)
    assert_close(gradient, torch.zeros_like(teacher), rtol=0, atol=1e-12)


@pytest.mark.parametrize('name', TERMS)
def test_teacher_receives_no_gradient(name):
    student, teacher = (x.requires_grad_() for x in pair(name))
    TERMS[name](student, teacher).sum().backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


@pytest.mark.parametrize('name', TERMS)
def test_non_contiguous_input_gives_the_same(name):
    student, teacher = pair(name)
    strided = [
        x.transpose(0, 1).contiguous().transpose(0, 1)
        for x in (student, teacher)
    ]
    assert not strided[0].is_contiguous()
    assert_close(TERMS[name](*strided), TERMS[name](student, teacher))


@pytest.mark.parametrize('name', TERMS)
def test_half_precision_is_computed_in_float32(name):
    student, teacher = (x.bfloat16() for x in pair(name))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        actual = TERMS[name](student, teacher)
    assert actual.dtype == torch.float32
    expected = TERMS[name](student.float(), teacher.float())
    assert_close(actual, expected, rtol=0, atol=0)


@pytest.mark.parametrize('name', TERMS)
def test_teacher_may_be_of_another_dtype(name):
    student, teacher = pair(name, dtype=torch.float32)
    actual = TERMS[name](student, teacher.double())
    assert_close(actual, TERMS[name](student, teacher))


@pytest.mark.parametrize('name', TERMS)
def test_nothing_gives_an_empty_term_in_the_graph(name):
    student, teacher = pair(name, 0)
    value = TERMS[name](student.requires_grad_(), teacher)
    assert value.shape == (0,)
    value.sum().backward()
    assert student.grad.shape == student.shape


@pytest.mark.parametrize('name', LOGIT_TERMS)
def test_logits_of_100_stay_finite(name):
    student = torch.full((5, NUM_CATEGORIES), -100.0)
    student[range(5), [0, 1, 0, 3, 2]] = 100.0
    teacher = student.roll(1, dims=1)
    assert TERMS[name](student, teacher).isfinite().all()
    assert gradient_of(name, student, teacher).isfinite().all()


@pytest.mark.parametrize('name', FEATURE_TERMS)
@pytest.mark.parametrize(
    'student',
    [
        torch.zeros(2, 3, 4, 4),
        torch.full((2, 3, 4, 4), 7.0),
        1e4 * torch.randn(2, 3, 4, 4),
        torch.randn(2, 3, 1, 1),
        torch.randn(1, 3, 1, 1),
    ],
    ids=['zeros', 'constant', 'large', 'one pixel', 'one pixel in all'],
)
def test_extreme_maps_stay_finite(name, student):
    teacher = torch.randn(student.shape)
    assert TERMS[name](student, teacher).isfinite().all()
    assert gradient_of(name, student, teacher).isfinite().all()


@pytest.mark.parametrize('name', TERMS)
def test_differing_shapes_are_refused(name):
    student, teacher = pair(name)
    with pytest.raises(ValueError, match=r'must share one shape .*got \(6, '):
        TERMS[name](student, teacher[:5])


@pytest.mark.parametrize('name', ['kd', 'dkd', 'cwd', 'pkd'])
def test_options_must_be_positive(name):
    if name == 'pkd':
        function, arguments, option = pkd_term, pair(name), 'eps'
    elif name == 'cwd':
        function, arguments, option = cwd_term, pair(name), 'temperature'
    else:
        student, teacher = pair('kd')
        arguments, option = (student, teacher), 'temperature'
        function = {'kd': kd_term, 'dkd': dkd_terms}[name]
        if name != 'kd':
            arguments += (targets(student),)
    with pytest.raises(ValueError, match=f'{option} must be positive, got 0'):
        function(*arguments, **{option: 0})
