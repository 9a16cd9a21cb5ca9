"""What the entropic transport of WKD-L does on given RoIs.

Shapes: R RoIs, K categories, background included and last; E values of reg,
I numbers of iterations.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import ot
import torch
from torch import Tensor

from mmwkd.functional import Domain, sinkhorn_cost
from mmwkd.functional.checks import check_at_least, check_positive

REGS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
NUM_ITERS = (1, 2, 5, 10, 20, 50, 100)
# a mean exact distance below this has no digits to compare with
_NO_DISTANCE = 1e-6


class Plans(NamedTuple):
    """Entropic transport plans."""

    log_u: Tensor  # (R, K), scaling of the source; -inf without mass
    log_v: Tensor  # (R, K), scaling of the sink
    plan: Tensor  # (R, K, K), plan[r, i, j] moves from i to j


@dataclass(frozen=True)
class TransportErrors:
    """Sinkhorn against exact transport, on the same RoIs."""

    regs: tuple[float, ...]  # E
    num_iters: tuple[int, ...]  # I
    exact: float  # mean exact distance
    values: np.ndarray  # (E, I), mean transport cost of the plans
    violations: np.ndarray  # (E, I), mean mass that misses the sink, in [0, 1]
    loss_values: np.ndarray  # (E, I), by the loss's own arithmetic

    @property
    def bias(self) -> np.ndarray:
        """Relative error of the mean cost; NaN where nothing is to move."""
        if self.exact < _NO_DISTANCE:
            return np.full_like(self.values, np.nan)
        return self.values / self.exact - 1

    @property
    def loss_is_accurate(self) -> np.ndarray:
        """Whether the loss agrees with the log domain to 1 %, (E, I)."""
        return np.isclose(
            self.loss_values,
            self.values,
            rtol=0.01,
            atol=max(1e-3 * self.exact, _NO_DISTANCE),
        )


def transport_plans(
    source: Tensor,
    sink: Tensor,
    cost: Tensor,
    *,
    excluded: Tensor | None = None,
    reg: float = 0.05,
    num_iters: int = 10,
) -> Plans:
    r"""Entropic transport plans, computed in the log domain.

    The iterations are those of :func:`mmwkd.functional.sinkhorn_cost`, for
    the same problem, without its guards:

    .. math:: \log v = \log q - \log (G^\top u), \quad
              \log u = \log p - \log (G v), \quad
              P = \mathrm{diag}(u) \, G \, \mathrm{diag}(v)

    They hold for any ``reg``, but take (R, K, K) memory: this is for looking
    at a few RoIs. Nothing is differentiated.

    Args:
        source: Histograms p that sum to 1, of shape (R, K).
        sink: Histograms q that sum to 1, of shape (R, K).
        cost: Non-negative ground cost, of shape (K, K).
        excluded: Category of each row that takes no part, of shape (R,).
        reg: Entropic regularisation, in the unit of ``cost``.
        num_iters: Number of iterations.

    Returns:
        Scalings and plans.

    Raises:
        ValueError: If ``reg`` or ``num_iters`` is not positive.
    """
    *_, (log_u, log_v) = _iterate(
        source, sink, cost, excluded, reg=reg, num_iters=num_iters
    )
    return Plans(log_u, log_v, _plan(log_u, log_v, cost, reg))


def _plan(log_u: Tensor, log_v: Tensor, cost: Tensor, reg: float) -> Tensor:
    log_kernel = -_double(cost) / reg
    return (log_u[:, :, None] + log_kernel + log_v[:, None, :]).exp()


def _double(tensor: Tensor) -> Tensor:
    return tensor.detach().double()


def _iterate(
    source: Tensor,
    sink: Tensor,
    cost: Tensor,
    excluded: Tensor | None,
    *,
    reg: float,
    num_iters: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Scalings log u and log v after each iteration."""
    check_positive(reg=reg)
    check_at_least(1, num_iters=num_iters)
    log_kernel = -_double(cost) / reg  # (K, K)
    log_p, log_q = _double(source).log(), _double(sink).log()
    log_u = torch.zeros_like(log_p)  # any uniform start: v takes it up
    if excluded is not None:
        log_u = log_u.scatter(1, excluded[:, None].long(), -torch.inf)
    for _ in range(num_iters):
        log_v = log_q - (log_u[:, :, None] + log_kernel).logsumexp(dim=1)
        log_u = log_p - (log_v[:, None, :] + log_kernel).logsumexp(dim=2)
        yield log_u, log_v


def exact_costs(source: Tensor, sink: Tensor, cost: Tensor) -> Tensor:
    """Exact transport cost of each pair of histograms (POT's ``emd2``).

    Args:
        source: Histograms that sum to 1, of shape (R, K).
        sink: Histograms that sum to 1, of shape (R, K).
        cost: Ground cost, of shape (K, K).

    Returns:
        Costs in double precision, of shape (R,).
    """
    ground = np.ascontiguousarray(_double(cost).cpu().numpy())
    values = []
    for p, q in zip(_double(source), _double(sink), strict=True):
        # emd2 wants sums that agree to more digits than float32 has
        a, b = (p / p.sum()).cpu().numpy(), (q / q.sum()).cpu().numpy()
        values.append(float(ot.emd2(a, b, ground)))
    return torch.tensor(values, dtype=torch.float64)


def transport_errors(
    source: Tensor,
    sink: Tensor,
    cost: Tensor,
    *,
    excluded: Tensor | None = None,
    regs: Collection[float] = REGS,
    num_iters: Collection[int] = NUM_ITERS,
    domain: Domain = 'plain',
) -> TransportErrors:
    """Measure Sinkhorn against exact transport over a grid of options.

    Args:
        source: Histograms that sum to 1, of shape (R, K), R > 0.
        sink: Histograms that sum to 1, of shape (R, K).
        cost: Ground cost, of shape (K, K).
        excluded: Category of each row that takes no part, of shape (R,).
        regs: Values of reg.
        num_iters: Numbers of iterations.
        domain: Arithmetic of the loss that is measured beside.

    Returns:
        Means over the RoIs.

    Raises:
        ValueError: If there are no RoIs.
    """
    if len(source) == 0:
        raise ValueError('there are no RoIs to measure transport on')
    regs, num_iters = tuple(sorted(regs)), tuple(sorted(num_iters))
    source, sink = _double(source), _double(sink)
    shape = len(regs), len(num_iters)
    values, violations, loss_values = (np.zeros(shape) for _ in range(3))
    for row, reg in enumerate(regs):
        steps = _iterate(
            source, sink, cost, excluded, reg=reg, num_iters=num_iters[-1]
        )
        for step, (log_u, log_v) in enumerate(steps, start=1):
            if step not in num_iters:
                continue
            column = num_iters.index(step)
            plan = _plan(log_u, log_v, cost, reg)
            values[row, column] = (plan * _double(cost)).sum() / len(source)
            missed = (plan.sum(dim=1) - sink).abs().sum(dim=1) / 2  # (R,)
            violations[row, column] = missed.mean()
            loss_values[row, column] = sinkhorn_cost(
                source.float(),
                sink.float(),
                cost.float(),
                excluded=excluded,
                reg=reg,
                num_iters=step,
                domain=domain,
            ).mean()
    return TransportErrors(
        regs=regs,
        num_iters=num_iters,
        exact=float(exact_costs(source, sink, cost).mean()),
        values=values,
        violations=violations,
        loss_values=loss_values,
    )
