"""Wasserstein distance between Gaussians of features (WKD-F).

Shapes: N maps, D channels, (H, W) positions, a grid of (g, g) cells with
n positions each. The positions of a cell are the samples of one Gaussian.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from mmwkd.functional.precision import full_precision

Covariance = Literal['diag', 'full']
COVARIANCES = ('diag', 'full')


class GridCells(NamedTuple):
    """The positions of every cell of a grid over a map."""

    samples: Tensor  # (N, D, g * g, n), 0 where a cell has no n-th position
    counts: Tensor  # (g * g,), positions in each cell
    mask: Tensor | None  # (g * g, n), True on positions; None if all are


class CellMoments(NamedTuple):
    """First moment of every cell, and the samples around it."""

    mean: Tensor  # (N, D, g * g)
    centered: Tensor  # (N, D, g * g, n), 0 outside a cell
    dof: Tensor  # (g * g,), counts - 1, and 1 for a cell of one position


@full_precision
def gaussian_wasserstein(
    student_feats: Tensor,
    teacher_feats: Tensor,
    *,
    grid: int = 1,
    covariance: Covariance = 'diag',
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    r"""Squared 2-Wasserstein distance between Gaussians of features.

    .. math:: W_2^2 = \|\mu_S - \mu_T\|^2 + \mathrm{tr}(\Sigma_S + \Sigma_T
              - 2 (\Sigma_T^{1/2} \Sigma_S \Sigma_T^{1/2})^{1/2})

    is returned as its two summands (Lv et al., NeurIPS 2024). Moments are
    taken in each cell of a grid whose borders are those of adaptive average
    pooling, with the unbiased covariance; terms are summed over channels
    and averaged over cells. With a diagonal covariance the second summand is
    :math:`\|\sigma_S - \sigma_T\|^2`, ``sigma = sqrt(var + eps)``.

    The gradient reaches the student alone; the teacher is a constant. Both
    terms and their gradients are finite for a cell of one position (its
    covariance is taken as 0), for singular covariances and for equal sides.

    Args:
        student_feats: Student maps, of shape (N, D, H, W).
        teacher_feats: Teacher maps, of the same shape.
        grid: Number of cells g along each side of a map.
        covariance: 'diag' for channel variances; 'full' for the Bures
            distance between covariance matrices.
        eps: Added to each variance of 'diag' to keep its root smooth; 'full'
            does not need it.

    Returns:
        Mean term and covariance term, each of shape (N,).

    Raises:
        ValueError: If shapes disagree or an option is unknown.
    """
    if student_feats.dim() != 4 or student_feats.shape != teacher_feats.shape:
        raise ValueError(
            'student_feats and teacher_feats must share one shape '
            f'(N, D, H, W), got {tuple(student_feats.shape)} and '
            f'{tuple(teacher_feats.shape)}'
        )
    if 0 in student_feats.shape[1:]:
        raise ValueError(
            'feature maps must not be empty, got shape '
            f'{tuple(student_feats.shape)}'
        )
    if grid < 1:
        raise ValueError(f'grid must be at least 1, got {grid}')
    if covariance not in COVARIANCES:
        raise ValueError(
            f'covariance must be one of {COVARIANCES}, got {covariance!r}'
        )

    student = _moments(_cells(student_feats, grid))
    teacher = _moments(_cells(teacher_feats.detach(), grid))
    mean_term = (student.mean - teacher.mean).square().sum(dim=1)  # (N, g*g)
    if covariance == 'diag':
        cov_term = _diagonal_term(student, teacher, eps)
    else:
        cov_term = _bures_term(student, teacher)
    return mean_term.mean(dim=1), cov_term.mean(dim=1)


def _cells(feats: Tensor, grid: int) -> GridCells:
    """Gather the positions of every cell; a view where the grid divides."""
    n, d, height, width = feats.shape
    if height % grid == 0 and width % grid == 0:
        h, w = height // grid, width // grid
        samples = feats.reshape(n, d, grid, h, grid, w).transpose(3, 4)
        samples = samples.reshape(n, d, grid * grid, h * w)
        counts = feats.new_full((grid * grid,), h * w)
        return GridCells(samples, counts, None)

    rows, row_mask = _spans(height, grid, feats.device)  # (g, h)
    cols, col_mask = _spans(width, grid, feats.device)  # (g, w)
    windows = feats[:, :, rows[:, None, :, None], cols[None, :, None, :]]
    mask = row_mask[:, None, :, None] & col_mask[None, :, None, :]
    mask = mask.flatten(0, 1).flatten(1)  # (g * g, h * w)
    samples = windows.flatten(2, 3).flatten(3)  # (N, D, g * g, h * w)
    return GridCells(samples * mask, mask.sum(dim=1).to(feats), mask)


def _spans(
    size: int, grid: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Positions of each of ``grid`` spans of a side, and which are real."""
    cell = torch.arange(grid, device=device)
    start = cell * size // grid
    stop = -(-(cell + 1) * size // grid)
    # two borders are rounded, so a span is at most one longer than size/grid
    longest = -(-size // grid) + 1
    index = start[:, None] + torch.arange(longest, device=device)  # (g, h)
    return index.clamp(max=size - 1), index < stop[:, None]


def _moments(cells: GridCells) -> CellMoments:
    """Mean, and samples centred by it.

    Centring before squaring is what keeps a variance accurate when the mean
    is thousands of standard deviations away from 0.
    """
    mean = cells.samples.sum(dim=3) / cells.counts  # (N, D, g * g)
    centered = cells.samples - mean[..., None]
    if cells.mask is not None:
        centered = centered * cells.mask
    return CellMoments(mean, centered, (cells.counts - 1).clamp(min=1))


def _diagonal_term(
    student: CellMoments, teacher: CellMoments, eps: float
) -> Tensor:
    sigma_s, sigma_t = (
        (m.centered.square().sum(dim=3) / m.dof + eps).sqrt()
        for m in (student, teacher)
    )  # (N, D, g * g)
    return (sigma_s - sigma_t).square().sum(dim=1)  # (N, g * g)


def _bures_term(student: CellMoments, teacher: CellMoments) -> Tensor:
    """Squared Bures distance between full covariances, (N, g * g)."""
    x, y = (
        (m.centered / m.dof[:, None].sqrt()).transpose(1, 2)
        for m in (student, teacher)
    )  # (N, g * g, D, n), Sigma = x x^T
    d, n = x.shape[-2:]
    if n <= d:
        # tr((Sigma_T^1/2 Sigma_S Sigma_T^1/2)^1/2) is the sum of singular
        # values of y^T x whatever square roots x and y of the covariances
        # are taken; its derivative U V^T never divides by a gap or a zero.
        fidelity = torch.linalg.svdvals(y.mT @ x).sum(dim=-1)
    else:
        fidelity = _Fidelity.apply(x @ x.mT, y @ y.mT)
    traces = x.square().sum(dim=(-2, -1)) + y.square().sum(dim=(-2, -1))
    # rounding may leave a distance of equal sides a little below 0
    return (traces - 2 * fidelity).clamp(min=0)


class _Fidelity(torch.autograd.Function):
    r"""Root fidelity of covariance matrices, safe where they are singular.

    .. math:: F = \mathrm{tr}((T^{1/2} S T^{1/2})^{1/2}), \quad
              dF/dS = \tfrac12 T^{1/2} (T^{1/2} S T^{1/2})^{-1/2} T^{1/2}

    The inverse root is taken on the numerical range alone: directions in
    which one side has no variance get no gradient instead of an infinite
    one. Only ``S`` is differentiated. Roots are taken in float64, as the
    square root would halve the digits of small eigenvalues.
    """

    @staticmethod
    def forward(ctx: Any, s: Tensor, t: Tensor) -> Tensor:
        root_t = _psd_root(t.double())  # (..., D, D)
        eigenvalues, vectors = torch.linalg.eigh(root_t @ s.double() @ root_t)
        roots = eigenvalues.clamp(min=0).sqrt()  # (..., D)
        # s is known to float32 (or float64) rounding: less is noise
        noise = (
            roots.amax(dim=-1, keepdim=True)
            * (torch.finfo(s.dtype).eps * s.shape[-1]) ** 0.5
        )
        inverse = torch.where(roots > noise, 1 / roots, 0)
        half = root_t @ vectors  # (..., D, D)
        ctx.save_for_backward(
            (0.5 * (half * inverse[..., None, :]) @ half.mT).to(s.dtype)
        )
        return roots.sum(dim=-1).to(s.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return grad_output[..., None, None] * gradient, None


def _psd_root(matrix: Tensor) -> Tensor:
    eigenvalues, vectors = torch.linalg.eigh(matrix)
    roots = eigenvalues.clamp(min=0).sqrt()
    return (vectors * roots[..., None, :]) @ vectors.mT
