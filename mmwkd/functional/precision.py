"""Run a loss in full precision, whatever autocast and TF32 say.

This includes derivatives that are written by hand.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec('P')
T = TypeVar('T')


@contextlib.contextmanager
def exact_products(device_type: str) -> Iterator[None]:
    """Compute float32 products in float32: no autocast, TF32 or bfloat16.

    A user who allows TF32 means the detectors. A product of ten bits would
    leave no digit of a variance or of a distance between near equals. The
    switches are those of the process and are put back at once; they are left
    alone where nobody allowed anything else.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.autocast(device_type, enabled=False))
        try:
            precision = torch.get_float32_matmul_precision()
        except RuntimeError:  # set by the switches of a backend
            for backend in (torch.backends.cuda, torch.backends.mkldnn):
                switch: Any = backend.matmul
                before = switch.fp32_precision
                stack.callback(setattr, switch, 'fp32_precision', before)
                switch.fp32_precision = 'ieee'
        else:
            if precision != 'highest':
                stack.callback(torch.set_float32_matmul_precision, precision)
                torch.set_float32_matmul_precision('highest')
        yield


def with_exact_products(func: Callable[P, T]) -> Callable[P, T]:
    """Decorate ``func`` to multiply exactly, see :func:`exact_products`."""

    @functools.wraps(func)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        values = (*args, *kwargs.values())
        devices = (v.device.type for v in values if isinstance(v, Tensor))
        with exact_products(next(devices, 'cpu')):
            return func(*args, **kwargs)

    return wrapper


def full_precision(func: Callable[P, T]) -> Callable[P, T]:
    """Decorate ``func`` to compute in float32 or better.

    Half-precision tensors among the arguments are cast to float32 (float64
    stays float64) and products are exact inside: a Gibbs kernel with entries
    near 1e-8 cannot be held by float16 or bfloat16. The cast is
    differentiable, so gradients arrive in the dtype of the input.
    """

    @functools.wraps(func)
    def promoted(*args: P.args, **kwargs: P.kwargs) -> T:
        values: Any = [_promote(arg) for arg in args]
        named: Any = {k: _promote(v) for k, v in kwargs.items()}
        return func(*values, **named)

    return with_exact_products(promoted)


def computing_dtype(tensor: Tensor) -> torch.dtype:
    """The type that a tensor's loss is computed in: float32 or better."""
    return torch.promote_types(tensor.dtype, torch.float32)


def _promote(arg: object) -> object:
    if isinstance(arg, Tensor) and arg.is_floating_point():
        return arg.to(computing_dtype(arg))
    return arg


def first_order(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate the ``backward`` of a function that has one derivative.

    Under ``create_graph=True`` what such a function computes would count as
    a constant, and second derivatives would be silently wrong.
    Products are exact inside: autocast and TF32 also reach a backward pass.
    """

    @functools.wraps(backward)
    def wrapper(ctx: Any, *grad_outputs: Any) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError(
                'second derivatives of this loss are not available: '
                'differentiate without create_graph=True'
            )
        with exact_products(grad_outputs[0].device.type):
            return backward(ctx, *grad_outputs)

    return wrapper
