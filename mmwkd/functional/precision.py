"""Run a loss in full precision, whatever the surrounding autocast says."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec('P')
T = TypeVar('T')


def without_autocast(func: Callable[P, T]) -> Callable[P, T]:
    """Decorate ``func`` to take and compute what it says, not autocast."""

    @functools.wraps(func)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        values = (*args, *kwargs.values())
        device_type = next(
            (
                value.device.type
                for value in values
                if isinstance(value, Tensor)
            ),
            'cpu',
        )
        with torch.autocast(device_type, enabled=False):
            return func(*args, **kwargs)

    return wrapper


def full_precision(func: Callable[P, T]) -> Callable[P, T]:
    """Decorate ``func`` to compute in float32 or better.

    Half-precision tensors among the arguments are cast to float32
    (float64 stays float64) and autocast is switched off inside: a Gibbs
    kernel with entries near 1e-8 and a variance of a few units in the last
    place of a mean cannot be held by float16 or bfloat16. The cast is
    differentiable, so gradients arrive in the dtype of the input.
    """

    @functools.wraps(func)
    def promoted(*args: P.args, **kwargs: P.kwargs) -> T:
        values: Any = [_promote(arg) for arg in args]
        named: Any = {k: _promote(v) for k, v in kwargs.items()}
        return func(*values, **named)

    return without_autocast(promoted)


def computing_dtype(tensor: Tensor) -> torch.dtype:
    """The type that a tensor's loss is computed in: float32 or better."""
    return torch.promote_types(tensor.dtype, torch.float32)


def _promote(arg: object) -> object:
    if isinstance(arg, Tensor) and arg.is_floating_point():
        return arg.to(computing_dtype(arg))
    return arg
