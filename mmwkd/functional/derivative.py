"""Guard derivatives that are written by hand."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch


def first_order(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate the ``backward`` of a function that has one derivative.

    Under ``create_graph=True`` what such a function computes would count as
    a constant, and second derivatives would be silently wrong. Autocast is
    off inside.
    """

    @functools.wraps(backward)
    def wrapper(ctx: Any, *grad_outputs: Any) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError(
                'second derivatives of this loss are not available: '
                'differentiate without create_graph=True'
            )
        # a user may differentiate inside autocast, too
        with torch.autocast(grad_outputs[0].device.type, enabled=False):
            return backward(ctx, *grad_outputs)

    return wrapper
