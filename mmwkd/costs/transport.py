"""What the entropic transport of WKD-L does on given RoIs.

Shapes: R RoIs, K categories, background included and last; E values of reg,
I numbers of iterations.
"""

import itertools
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmwkd.extras import needs_extra
from mmwkd.functional import Domain, sinkhorn_cost

with needs_extra('cost'):
    import ot
    from ot.batch import solve_batch

REGS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
NUM_ITERS = (1, 2, 5, 10, 20, 50, 100)
# a mean exact distance below this has no digits to compare with
_NO_DISTANCE = 1e-6


class TransportErrors(NamedTuple):
    """What the loss computes against exact transport, on the same RoIs."""

    regs: tuple[float, ...]  # E
    num_iters: tuple[int, ...]  # I
    exact: float  # mean exact distance
    bias: np.ndarray  # (E, I), of the mean cost; NaN where nothing is to move
    violations: np.ndarray  # (E, I), mean mass that misses the sink, in [0, 1]


def transport_plans(
    source: Tensor,
    sink: Tensor,
    cost: Tensor,
    *,
    excluded: Tensor | None = None,
    reg: float = 0.05,
    num_iters: int = 10,
) -> Tensor:
    r"""Entropic transport plans, computed in the log domain by POT.

    The iterations are those of :func:`mmwkd.functional.sinkhorn_cost`, for
    the same problem, without its guards:

    .. math:: \log v = \log q - \log (G^\top u), \quad
              \log u = \log p - \log (G v), \quad
              P = \mathrm{diag}(u) \, G \, \mathrm{diag}(v)

    They hold for any ``reg``, but take (R, K, K) memory: this is for looking
    at a few RoIs. Nothing is differentiated.

    Args:
        source: Histograms p that sum to 1, of shape (R, K), R > 0.
        sink: Histograms q that sum to 1, of shape (R, K).
        cost: Non-negative ground cost, of shape (K, K).
        excluded: Category of each row that takes no part, of shape (R,).
        reg: Entropic regularisation, in the unit of ``cost``.
        num_iters: Number of iterations.

    Returns:
        Plans, float64; entry (r, i, j) moves from i to j, (R, K, K).
    """
    num_rois, size = source.shape
    part = torch.ones(num_rois, size, dtype=torch.bool)
    if excluded is not None:
        part[torch.arange(num_rois), excluded.cpu().long()] = False
    kept = part.nonzero()[:, 1].view(num_rois, -1)  # (R, K) or (R, K - 1)
    rows, cols = kept[:, :, None], kept[:, None, :]
    # POT updates its second scaling last, this is the source's here
    solved = solve_batch(
        _double(cost).cpu()[rows, cols].transpose(1, 2),
        reg,
        a=_double(sink).cpu().gather(1, kept),
        b=_double(source).cpu().gather(1, kept),
        max_iter=num_iters,
        tol=0,
    )
    plans = torch.zeros(num_rois, size, size, dtype=torch.float64)
    plans[torch.arange(num_rois)[:, None, None], rows, cols] = (
        solved.plan.transpose(1, 2)
    )
    return plans


def _double(tensor: Tensor) -> Tensor:
    return tensor.detach().double()


def exact_costs(source: Tensor, sink: Tensor, cost: Tensor) -> Tensor:
    """Exact transport costs (R,) of pairs of histograms (POT's ``emd2``).

    Histograms (R, K) sum to 1; the ground cost is (K, K).
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
    """Measure the loss's transport against the exact one, over its options.

    Arguments are those of :func:`transport_plans`, values of its options,
    and the arithmetic of the loss.

    Returns:
        Means over the RoIs.
    """
    regs, num_iters = tuple(sorted(regs)), tuple(sorted(num_iters))
    source, sink = _double(source), _double(sink)
    shape = len(regs), len(num_iters)
    values, violations = np.zeros(shape), np.zeros(shape)
    for (row, reg), (column, count) in itertools.product(
        enumerate(regs), enumerate(num_iters)
    ):
        options: dict[str, Any] = dict(
            excluded=excluded, reg=reg, num_iters=count
        )
        plans = transport_plans(source, sink, cost, **options)
        missed = (plans.sum(dim=1) - sink).abs().sum(dim=1) / 2  # (R,)
        violations[row, column] = missed.mean()
        values[row, column] = sinkhorn_cost(
            source.float(),
            sink.float(),
            cost.float(),
            domain=domain,
            **options,
        ).mean()
    exact = float(exact_costs(source, sink, cost).mean())
    moves = exact >= _NO_DISTANCE
    bias = values / exact - 1 if moves else np.full(shape, np.nan)
    return TransportErrors(regs, num_iters, exact, bias, violations)
