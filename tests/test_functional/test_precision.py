"""Products of losses stay exact where a user allows others to be rough."""

import contextlib
from functools import partial

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import mmwkd.functional as WF
from mmwkd.functional.precision import exact_products

PRODUCTS = ('mm', 'bmm', 'addmm', 'baddbmm', 'addmv', 'mv')


@contextlib.contextmanager
def legacy(precision):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)


@contextlib.contextmanager
def by_backend():
    switch = torch.backends.cuda.matmul
    try:
        before = switch.fp32_precision
    except (AttributeError, AssertionError):
        pytest.skip('this torch has no switches by backend')
    switch.fp32_precision = 'tf32'
    try:
        yield
        assert switch.fp32_precision == 'tf32'
    finally:
        switch.fp32_precision = before


def is_exact():
    try:
        return torch.get_float32_matmul_precision() == 'highest'
    except RuntimeError:
        return torch.backends.cuda.matmul.fp32_precision == 'ieee'


class Watch(TorchDispatchMode):
    """Note how exact each matrix product may be."""

    def __init__(self):
        super().__init__()
        self.products = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in PRODUCTS and args[0].dtype is not torch.float64:
            assert args[0].dtype is torch.float32
            self.products.append((name, is_exact()))
        return func(*args, **(kwargs or {}))


def maps(side):
    return torch.randn(2, 2, 3, side, side).unbind()


def transport(student, teacher):
    cost = 1 - torch.eye(student.shape[1])
    return WF.transport_term(student, teacher, cost)


CASES = {
    'transport': (transport, torch.randn(2, 3, 4).unbind()),
    'diag on small maps': (
        lambda s, t: sum(WF.gaussian_wasserstein(s, t, grid=2)),
        maps(4),
    ),
    'diag on large maps': (
        lambda s, t: sum(WF.gaussian_wasserstein(s, t, grid=2)),
        maps(20),
    ),
    'full': (
        lambda s, t: sum(WF.gaussian_wasserstein(s, t, covariance='full')),
        torch.randn(2, 2, 9, 2, 2).unbind(),
    ),
}


@pytest.mark.parametrize('name', CASES)
@pytest.mark.parametrize(
    'allowed',
    [partial(legacy, 'high'), partial(legacy, 'medium'), by_backend],
    ids=['high', 'medium', 'by backend'],
)
def test_no_product_of_a_loss_is_rough(name, allowed):
    term, (student, teacher) = CASES[name]
    student = student.clone().requires_grad_()
    with (
        allowed(),
        torch.autocast('cpu', dtype=torch.bfloat16),
        Watch() as watch,
    ):
        assert not is_exact()
        term(student, teacher).sum().backward()
        assert not is_exact()
    assert watch.products
    assert all(exact for _, exact in watch.products), watch.products


def test_the_switches_are_put_back_after_an_error():
    with legacy('high'):
        with pytest.raises(KeyError), exact_products('cpu'):
            assert is_exact()
            raise KeyError
    assert is_exact()
