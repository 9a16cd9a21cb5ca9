"""Guard derivatives that are written by hand."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmwkd.functional.precision import exact_products


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


class _Product(torch.autograd.Function):
    """A matrix product whose derivative is as exact as itself."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        ctx.save_for_backward(first, second)
        with exact_products(first.device.type):
            return first @ second

    @staticmethod
    def backward(
        ctx: Any, grad_output: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        first, second = ctx.saved_tensors
        needs_first, needs_second = ctx.needs_input_grad
        return (
            matrix_product(grad_output, second.mT) if needs_first else None,
            matrix_product(first.mT, grad_output) if needs_second else None,
        )


def matrix_product(first: Tensor, second: Tensor) -> Tensor:
    """Product (..., M, N) of matrices (..., M, K) and (..., K, N).

    Both have the same leading dimensions. Autograd alone would multiply with
    what autocast or TF32 say when the gradient is computed.
    """
    return _Product.apply(first, second)
