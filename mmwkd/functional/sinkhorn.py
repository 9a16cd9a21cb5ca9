"""Entropic optimal transport: many pairs that share a cost, and one set pair.

Shapes: R pairs of histograms (one per RoI), K categories; M and N points.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmwkd.functional.checks import check_at_least, check_positive

# The guards of the reference implementation: they are part of the values.
_GUARD = 1e-8


def sinkhorn_cost(
    source: Tensor,
    sink: Tensor,
    cost: Tensor,
    *,
    excluded: Tensor | None = None,
    reg: float = 0.05,
    num_iters: int = 10,
) -> Tensor:
    r"""Cost of the entropic transport plan, without the entropy term.

    For every row r, Sinkhorn's algorithm approximates

    .. math:: P_r = \arg\min_{P \ge 0} \langle P, c \rangle
              - \epsilon H(P) \quad \text{s.t.} \quad
              P 1 = p_r, \; P^\top 1 = q_r

    and :math:`\langle P_r, c \rangle` is returned. The source marginal is
    updated last, hence it holds exactly and the sink's approximately.

    The kernel ``G = exp(-c / reg)`` is the same for all rows, so every
    half-step is one (R, K) x (K, K) product: 2n for n iterations forward
    and 2n - 1 backward. A category without mass on either side, and with a
    zero initial scaling, leaves the problem as if its row and column had
    been cut out of ``cost``.

    The gradient reaches ``source`` through the unrolled iterations; ``sink``
    and ``cost`` are constants.

    Args:
        source: Histograms p that sum to 1, of shape (R, K).
        sink: Histograms q that sum to 1, of shape (R, K).
        cost: Non-negative ground cost, of shape (K, K).
        excluded: One category of each row that takes no part, of shape
            (R,); both histograms must be 0 there. None for no such category.
        reg: Entropic regularisation epsilon, in the unit of ``cost``.
        num_iters: Number of iterations; an iteration updates both scalings.

    Returns:
        Transport cost of each pair, of shape (R,).
    """
    cost = cost.detach().clamp(min=0) + _GUARD
    kernel = (-cost / reg).exp()  # (K, K)
    # u starts uniform, so its product with the kernel is a sum over rows
    start = kernel.sum(dim=0)  # (K,)
    if excluded is None:
        start = (start / len(cost)).expand_as(source)  # (R, K)
    else:
        start = (start - kernel[excluded]) / (len(cost) - 1)  # (R, K)
    return _UnrolledSinkhorn.apply(
        source, sink.detach(), kernel, kernel * cost, start, num_iters
    )


@torch.no_grad()
def sinkhorn_plan(
    cost: Tensor, *, reg: float = 0.1, num_iters: int = 10
) -> Tensor:
    r"""Entropic transport plan between two sets of equally heavy points.

    .. math:: \arg\min_{P \ge 0} \langle P, c \rangle - \epsilon H(P)
              \quad \text{s.t.} \quad P 1 = 1 / M, \; P^\top 1 = 1 / N

    The row marginal is met exactly, the column marginal approximately.
    Iterations are plain products, so the cost must not span more than some
    80 times ``reg`` in float32. Nothing is differentiated.

    Args:
        cost: Cost between the points of the two sets, of shape (M, N).
        reg: Entropic regularisation epsilon, in the unit of ``cost``.
        num_iters: Number of iterations; an iteration updates both scalings.

    Returns:
        Plan P that sums to 1, of shape (M, N).

    Raises:
        ValueError: If an option is out of range.
    """
    check_positive(reg=reg)
    check_at_least(1, num_iters=num_iters)
    kernel = (-cost / reg).exp()  # (M, N)
    num_rows, num_columns = cost.shape
    u = cost.new_ones(num_rows)
    for _ in range(num_iters):
        v = 1 / (num_columns * (u @ kernel))  # (N,)
        u = 1 / (num_rows * (kernel @ v))  # (M,)
    return u[:, None] * kernel * v


class _UnrolledSinkhorn(torch.autograd.Function):
    r"""Iterations of Sinkhorn and their derivative, in place where possible.

    Forward, with the guard g and :math:`a_1` = ``start`` + g:

    .. math:: v_k = q / a_k, \quad b_k = v_k G^\top + g, \quad
              u_k = p / b_k, \quad a_{k+1} = u_k G + g, \quad
              D = \langle u_n, v_n (G \circ c)^\top \rangle

    Backward, from the last iteration to the first (a bar is the derivative
    of D):

    .. math:: \bar p \mathrel{+}= \bar u_k / b_k, \quad
              \bar b_k = -\bar u_k u_k / b_k, \quad
              \bar v_k = \bar b_k G, \quad
              \bar a_k = -\bar v_k v_k / a_k, \quad
              \bar u_{k-1} = \bar a_k G^\top

    :math:`a_1` does not depend on p, so the walk ends at :math:`u_1`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        source: Tensor,
        sink: Tensor,
        kernel: Tensor,
        kernel_cost: Tensor,
        start: Tensor,
        num_iters: int,
    ) -> Tensor:
        guard = source.new_tensor(_GUARD)
        differentiate = ctx.needs_input_grad[0]
        u = source  # replaced before it is read
        history = []  # v_k / a_k, 1 / b_k and u_k of each iteration
        inverse_a = (start + guard).reciprocal_()  # (R, K)
        for step in range(num_iters):
            if step > 0:
                inverse_a = torch.addmm(guard, u, kernel).reciprocal_()
            v = sink * inverse_a  # (R, K)
            inverse_b = torch.addmm(guard, v, kernel.T).reciprocal_()
            u = source * inverse_b  # (R, K)
            if differentiate:
                history += [inverse_a.mul_(v), inverse_b, u]
        moved = v @ kernel_cost.T  # (R, K)
        if differentiate:
            ctx.save_for_backward(kernel, kernel_cost, moved, *history)
        return (u * moved).sum(dim=1)  # (R,)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        kernel, kernel_cost, moved, *history = ctx.saved_tensors
        grad_output = grad_output[:, None]  # (R, 1)
        grad_source = torch.zeros_like(moved)
        grad_u = moved * grad_output  # (R, K)
        last = len(history) - 3
        for index in range(last, -1, -3):
            ratio, inverse_b, u = history[index : index + 3]
            grad_u.mul_(inverse_b)
            grad_source.add_(grad_u)
            if index == 0:
                break
            # two minus signs, of b and of a, cancel along the way
            grad_v = grad_u.mul_(u) @ kernel
            if index == last:
                grad_v.addmm_(u * grad_output, kernel_cost, alpha=-1)
            grad_u = grad_v.mul_(ratio) @ kernel.T
        return grad_source, None, None, None, None, None
