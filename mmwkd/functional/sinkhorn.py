"""Entropic optimal transport of many pairs that share a cost.

Shapes: R pairs of histograms (one per RoI), K categories.
Inside, pairs are columns and come in blocks of B: a (K, K) x (K, B) product is
faster than its transpose, and what a block needs stays in the cache.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmwkd.functional.checks import (
    check_at_least,
    check_floating_point,
    check_positive,
)
from mmwkd.functional.precision import first_order, full_precision

# The guard of the reference implementation: it is part of the values.
_GUARD = 1e-8
# Pairs of a block on a CPU, as many as its cache takes.
_CPU_BLOCK = 256
# Entries of the (K, B) tensors that a block keeps, at most: enough to fill a
# device, few enough to bound its memory (0.5 GB in float32).
_BLOCK_ENTRIES = 2**27


@full_precision
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
    half-step is one (K, K) x (K, R) product: 2n for n iterations forward
    and 2n - 1 backward. A category without mass on either side, and with a
    zero initial scaling, leaves the problem as if its row and column had
    been cut out of ``cost``.

    The gradient reaches ``source`` through the unrolled iterations; ``sink``
    and ``cost`` are constants. It is computed along with the value and
    is all that is kept for the backward pass.

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

    Raises:
        ValueError: If shapes disagree or an option is out of range.
    """
    check_floating_point(source=source, sink=sink, cost=cost)
    _check_histograms(source, sink, cost, excluded)
    check_positive(reg=reg)
    check_at_least(1, num_iters=num_iters)
    problem = _problem(cost.detach(), reg, num_iters)
    value = _SinkhornCost.apply(source, sink.detach(), excluded, problem)
    return value.to(source.dtype)


def _check_histograms(
    source: Tensor, sink: Tensor, cost: Tensor, excluded: Tensor | None
) -> None:
    shapes = [tuple(source.shape), tuple(sink.shape), tuple(cost.shape)]
    if source.dim() != 2 or shapes != 2 * [shapes[0]] + [2 * shapes[0][1:]]:
        raise ValueError(
            'source and sink must share one shape (R, K), and cost must have '
            f'(K, K), got {shapes[0]}, {shapes[1]} and {shapes[2]}'
        )
    if excluded is not None and excluded.shape != source.shape[:1]:
        raise ValueError(
            f'excluded must have shape {shapes[0][:1]}, one category for '
            f'each pair, got {tuple(excluded.shape)}'
        )


class _Problem(NamedTuple):
    """What all pairs share."""

    kernel: Tensor  # G = exp(-c / reg), (K, K)
    kernel_cost: Tensor  # G * c, (K, K)
    guard: Tensor  # keeps divisors from 0, ()
    num_iters: int


def _problem(cost: Tensor, reg: float, num_iters: int) -> _Problem:
    cost = cost.clamp(min=0) + _GUARD
    kernel = (-cost / reg).exp()
    guard = torch.full((), _GUARD, dtype=cost.dtype, device=cost.device)
    return _Problem(kernel, kernel * cost, guard, num_iters)


# three tensors (K, B) of each iteration that the derivative needs
History = list[tuple[Tensor, ...]]


class _SinkhornCost(torch.autograd.Function):
    """Blocks of pairs, their costs and the gradients of these."""

    @staticmethod
    def forward(
        ctx: Any,
        source: Tensor,
        sink: Tensor,
        excluded: Tensor | None,
        problem: _Problem,
    ) -> Tensor:
        num_pairs, num_categories = source.shape
        value = problem.kernel.new_empty(num_pairs)
        gradient = (
            torch.empty_like(source, memory_format=torch.contiguous_format)
            if ctx.needs_input_grad[0]
            else None
        )
        # an iteration leaves three tensors to the backward pass
        kept = problem.num_iters if gradient is not None else 1
        step = max(1, _BLOCK_ENTRIES // (3 * kept * num_categories))
        if source.device.type == 'cpu':
            step = min(step, _CPU_BLOCK)
        history: History = []
        for first in range(0, num_pairs, step):
            rows = slice(first, first + step)
            size = min(step, num_pairs - first)
            if not history or history[0][0].shape[1] != size:
                shape = num_categories, size
                history.clear()  # before there is another: it is large
                history = [
                    tuple(value.new_empty(shape) for _ in range(3))
                    for _ in range(kept)
                ]
            block = _iterate(
                source[rows].T.to(value.dtype).contiguous(),  # (K, B)
                sink[rows].T.to(value.dtype).contiguous(),  # (K, B)
                None if excluded is None else excluded[rows],
                problem,
                history,
                differentiate=gradient is not None,
            )
            value[rows] = block[0]
            if gradient is not None:
                gradient[rows] = block[1].T
        ctx.save_for_backward(gradient)
        return value  # (R,)

    @staticmethod
    @first_order
    def backward(
        ctx: Any, grad_output: Tensor
    ) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        grad_source = gradient * grad_output[:, None].to(gradient.dtype)
        return grad_source, None, None, None


def _iterate(
    p: Tensor,
    q: Tensor,
    excluded: Tensor | None,
    problem: _Problem,
    history: History,
    *,
    differentiate: bool,
) -> tuple[Tensor, Tensor]:
    r"""Iterations of Sinkhorn and, on request, their derivative.

    With the guard g, a uniform u_0 and k from 1 to n:

    .. math:: a_k = G^\top u_{k-1} + g, \quad v_k = q / a_k, \quad
              b_k = G v_k + g, \quad u_k = p / b_k, \quad
              D = \langle u_n, (G \circ c) v_n \rangle

    Backward, from the last iteration to the first (a bar is the derivative
    of D):

    .. math:: \bar p \mathrel{+}= \bar u_k / b_k, \quad
              \bar b_k = -\bar u_k u_k / b_k, \quad
              \bar v_k = G^\top \bar b_k, \quad
              \bar a_k = -\bar v_k v_k / a_k, \quad
              \bar u_{k-1} = G \bar a_k

    :math:`a_1` does not depend on p, so the walk ends at :math:`u_1`.

    The history has room for v_k / a_k, b_k and u_k of each iteration, or of
    one where there is no derivative. Returned are D (B,) and its derivative
    by p (K, B); p itself where it is not wanted.
    """
    kernel, kernel_cost, guard, num_iters = problem
    last = num_iters - 1
    count = len(p) if excluded is None else len(p) - 1
    u = torch.full_like(p, 1 / count)  # (K, B)
    if excluded is not None:
        u.scatter_(0, excluded[None].long(), 0)
    v = torch.empty_like(p)
    for step in range(num_iters):
        a, b, next_u = history[step % len(history)]
        torch.addmm(guard, kernel.T, u, out=a)
        torch.div(q, a, out=v)
        torch.addmm(guard, kernel, v, out=b)
        u = torch.div(p, b, out=next_u)
        torch.div(v, a, out=a)
    grad_u = kernel_cost @ v  # (K, B)
    value = (u * grad_u).sum(dim=0)  # (B,)
    if not differentiate:
        return value, p

    # two minus signs, of b and of a, cancel along the way
    grad_p, grad_v = torch.zeros_like(p), v
    for step in range(last, -1, -1):
        ratio, b, u = history[step]
        grad_u.div_(b)
        grad_p.add_(grad_u)
        if step == 0:
            break
        torch.mm(kernel.T, grad_u.mul_(u), out=grad_v)
        if step == last:
            grad_v.sub_(torch.mm(kernel_cost.T, u, out=grad_u))
        torch.mm(kernel, grad_v.mul_(ratio), out=grad_u)
    return value, grad_p
