"""Run a loss in full precision, whatever the surrounding autocast says."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec('P')
T = TypeVar('T')


def full_precision(func: Callable[P, T]) -> Callable[P, T]:
    """Decorate ``func`` to compute in float32 or better.

    Half-precision tensors among the arguments are cast to float32
    (float64 stays float64) and autocast is switched off inside: a Gibbs
    kernel with entries near 1e-8 and a variance of a few units in the last
    place of a mean cannot be held by float16 or bfloat16. The cast is
    differentiable, so gradients arrive in the dtype of the input.
    """

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
            promoted: Any = [_promote(arg) for arg in args]
            named: Any = {k: _promote(v) for k, v in kwargs.items()}
            return func(*promoted, **named)

    return wrapper


def _promote(arg: object) -> object:
    if isinstance(arg, Tensor) and arg.dtype in (
        torch.float16,
        torch.bfloat16,
    ):
        return arg.float()
    return arg
