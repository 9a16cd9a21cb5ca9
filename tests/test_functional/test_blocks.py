"""Large maps and half precision are taken in blocks, unnoticed."""

import functools

import pytest
import torch
from torch.testing import assert_close

import mmwkd.functional as WF
from mmwkd.functional import blocks

TERMS = {
    'fitnet': WF.fitnet_term,
    'pkd': WF.pkd_term,
    'cwd': WF.cwd_term,
    'full': functools.partial(WF.gaussian_wasserstein, covariance='full'),
    'grid of positions': functools.partial(WF.gaussian_wasserstein, grid=4),
    'diag': WF.gaussian_wasserstein,
}


def differentiate(name, student, teacher, **options):
    student = student.clone().requires_grad_()
    value = TERMS[name](student, teacher, **options)
    value = torch.stack(value).sum(0) if isinstance(value, tuple) else value
    weights = torch.arange(1, len(value) + 1)
    (gradient,) = torch.autograd.grad((weights * value).sum(), student)
    return value.detach(), gradient


@pytest.mark.parametrize('name', TERMS)
@pytest.mark.parametrize('sides', [None, [[4, 2], [1, 3], [2, 4], [4, 4]]])
def test_blocks_change_nothing(name, sides, monkeypatch):
    maps = torch.randn(2, 4, 5, 4, 4, dtype=torch.float64)
    options = {} if sides is None else {'extents': torch.tensor(sides)}
    expected = differentiate(name, *maps, **options)
    monkeypatch.setattr(blocks, '_ENTRIES', 100)
    assert_close(differentiate(name, *maps, **options), expected)


@pytest.mark.parametrize('name', TERMS)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_halves_are_cast_where_they_are_read(name, dtype):
    maps = torch.randn(2, 4, 5, 4, 4).to(dtype)
    value, gradient = differentiate(name, *maps)
    expected, slope = differentiate(name, *maps.float())
    assert_close(value, expected)
    assert gradient.dtype == dtype
    assert_close(gradient, slope.to(dtype))


@pytest.mark.parametrize('name', sorted(set(TERMS) - {'diag'}))
def test_blocks_refuse_second_derivatives(name, monkeypatch):
    monkeypatch.setattr(blocks, '_ENTRIES', 16)
    student, teacher = torch.randn(2, 4, 5, 4, 4)
    student.requires_grad_()
    value = TERMS[name](student, teacher)
    value = value[0] if isinstance(value, tuple) else value
    with pytest.raises(RuntimeError, match='second derivatives'):
        torch.autograd.grad(value.sum(), student, create_graph=True)


@pytest.mark.parametrize('name', TERMS)
def test_gradients_are_whole_inside_autocast(name):
    """A user may call backward() there."""
    student, teacher = torch.randn(2, 4, 8, 20, 20)
    options = {'grid': 3} if name in ('full', 'diag') else {}
    expected = differentiate(name, student, teacher, **options)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        actual = differentiate(name, student, teacher, **options)
    assert_close(actual, expected, rtol=1e-5, atol=1e-7)
