"""Entropic optimal transport of many histogram pairs that share one cost.

Shapes: R pairs of histograms (one per RoI), K categories.
"""

from __future__ import annotations

import torch
from torch import Tensor

# The guards of the reference implementation: they are part of the values.
_GUARD = 1e-8


def sinkhorn_cost(
    source: Tensor,
    sink: Tensor,
    cost: Tensor,
    *,
    support: Tensor | None = None,
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
    half-step is one (R, K) x (K, K) product. A category outside ``support``
    has no mass and starts with a zero scaling: it leaves the problem, as if
    its row and column had been cut out of ``cost``.

    Gradients flow through the unrolled iterations to ``source`` and, where
    it requires grad, to ``sink``; ``cost`` is a constant.

    Args:
        source: Histograms p that sum to 1, of shape (R, K).
        sink: Histograms q that sum to 1, of shape (R, K).
        cost: Non-negative ground cost, of shape (K, K).
        support: Categories that take part in each row, a boolean mask of
            shape (R, K); histograms must be 0 elsewhere. None for all.
        reg: Entropic regularisation epsilon, in the unit of ``cost``.
        num_iters: Number of iterations; an iteration updates both scalings.

    Returns:
        Transport cost of each pair, of shape (R,).
    """
    cost = cost.detach().clamp(min=0) + _GUARD
    kernel = (-cost / reg).exp()  # (K, K)
    if support is None:
        u = torch.full_like(source, 1 / source.shape[1])  # (R, K)
    else:
        u = support.to(source) / support.sum(dim=1, keepdim=True)  # (R, K)
    for _ in range(num_iters):
        v = sink / (u @ kernel + _GUARD)  # (R, K)
        u = source / (v @ kernel.T + _GUARD)  # (R, K)
    return (u * (v @ (kernel * cost).T)).sum(dim=1)
