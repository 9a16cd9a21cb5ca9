"""Wasserstein distance between Gaussians of features (WKD-F).

Shapes: N maps, D channels, (H, W) positions, a grid of (g, g) cells with
n positions each. The positions of a cell are the samples of one Gaussian.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mmwkd.functional.checks import (
    check_at_least,
    check_feats,
    check_positive,
)
from mmwkd.functional.derivative import first_order
from mmwkd.functional.precision import full_precision

Covariance = Literal['diag', 'full']
COVARIANCES = ('diag', 'full')

# Positions up to which averaging a map over its cells is one product; beyond,
# averaging its lines first takes less arithmetic.
_SMALL_MAP = 256


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
    check_feats(student_feats, teacher_feats)
    check_at_least(1, grid=grid)
    if covariance not in COVARIANCES:
        raise ValueError(
            f'covariance must be one of {COVARIANCES}, got {covariance!r}'
        )

    teacher_feats = teacher_feats.detach().to(student_feats)
    if student_feats.shape[2:] == (grid, grid):
        # every cell is one position: its mean is the feature, and there is
        # no covariance
        distance = F.mse_loss(student_feats, teacher_feats, reduction='none')
        mean_term = distance.sum(dim=1).mean(dim=(1, 2))  # (N,)
        return mean_term, 0 * mean_term
    if covariance == 'diag':
        check_positive(eps=eps)
        return _diagonal_distance(student_feats, teacher_feats, grid, eps)
    mean_s, root_s = _cell_roots(student_feats, grid)
    mean_t, root_t = _cell_roots(teacher_feats, grid)
    mean_term = (mean_s - mean_t).square().sum(dim=1)  # (N, g * g)
    cov_term = _squared_bures(root_s, root_t)  # (N, g * g)
    return mean_term.mean(dim=1), cov_term.mean(dim=1)


def _spans(size: int, grid: int) -> list[range]:
    """Positions of each cell along a side, as in adaptive average pooling."""
    return [
        range(i * size // grid, -(-(i + 1) * size // grid))
        for i in range(grid)
    ]


def _diagonal_distance(
    student_feats: Tensor, teacher_feats: Tensor, grid: int, eps: float
) -> tuple[Tensor, Tensor]:
    """Mean and covariance term for diagonal covariances, both (N,)."""
    n, d, height, width = student_feats.shape
    cells = _cells(student_feats, grid)
    mean_term, cov_term = _DiagonalDistance.apply(
        student_feats.reshape(n * d, height * width),
        teacher_feats.reshape(n * d, height * width),
        cells,
        eps,
    )
    return mean_term.view(n, d).sum(dim=1), cov_term.view(n, d).sum(dim=1)


class _Cells(NamedTuple):
    """Averages over the g * g = C cells of maps with P = H * W positions."""

    rows: Tensor  # weights of positions along the height, (g, H)
    cols: Tensor  # weights of positions along the width, (g, W)
    both: Tensor | None  # their products (C, P); None for large maps
    unbiased: Tensor  # n / (n - 1) of each cell, (C, 1)

    def average(self, maps: Tensor) -> Tensor:
        """Means of the cells of maps (B, P), of shape (C, B)."""
        if self.both is not None:
            return self.both @ maps.T
        (grid, height), width = self.rows.shape, self.cols.shape[1]
        lines = self.cols @ maps.reshape(-1, width).T  # (g, B * H)
        means = lines.view(-1, height) @ self.rows.T  # (g * B, g)
        return means.view(grid, -1, grid).permute(2, 0, 1).flatten(0, 1)

    def spread(self, values: Tensor, *, out: Tensor) -> Tensor:
        """Add up w_cp times values (C, B) over cells, of shape (B, P)."""
        if self.both is not None:
            return torch.mm(values.T, self.both, out=out)
        grid, width = self.cols.shape
        values = values.unflatten(0, (grid, grid)).permute(1, 2, 0)
        lines = values.flatten(0, 1) @ self.rows  # (g * B, H)
        torch.mm(lines.view(grid, -1).T, self.cols, out=out.view(-1, width))
        return out


def _cells(feats: Tensor, grid: int) -> _Cells:
    """Cells of the grid on maps (N, D, H, W)."""
    height, width = feats.shape[2:]
    rows, row_counts = _side_weights(height, grid, feats)
    cols, col_counts = _side_weights(width, grid, feats)
    counts = torch.outer(row_counts, col_counts).flatten()  # (C,)
    both = None
    if height * width <= _SMALL_MAP:
        both = torch.einsum('ih,jw->ijhw', rows, cols)
        both = both.flatten(2).flatten(0, 1)  # (C, P)
    # a cell of one position keeps its variance of 0
    unbiased = counts / (counts - 1).clamp(min=1)
    return _Cells(rows, cols, both, unbiased[:, None])


def _side_weights(size: int, grid: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Averaging weights of a side's positions, and positions of each span.

    Returns:
        Weights (g, size) whose rows sum to 1, and counts (g,).
    """
    spans = _spans(size, grid)
    weights = torch.zeros(grid, size, dtype=like.dtype)
    for cell, span in enumerate(spans):
        weights[cell, span.start : span.stop] = 1 / len(span)
    counts = like.new_tensor([len(span) for span in spans])  # (g,)
    return weights.to(like.device), counts


class _DiagonalDistance(torch.autograd.Function):
    r"""Distance between rows of samples, averaged over cells.

    Shapes: M rows (a channel of a map each), P samples, C cells.

    .. math:: \mu_c = \sum_p w_{cp} x_p, \quad
              v_c = b_c \sum_p w_{cp} (x_p - \mu_c)^2, \quad
              \sigma_c = \sqrt{v_c + \epsilon}

    with the factor b that makes the variance unbiased. Of both sides' moments,
    the two terms and their derivative are

    .. math:: m = \frac1C \sum_c (\mu^S_c - \mu^T_c)^2, \quad
              s = \frac1C \sum_c (\sigma^S_c - \sigma^T_c)^2, \quad
              \bar x_p = \frac2C \sum_c w_{cp} \left(
              \bar m (\mu^S_c - \mu^T_c) + \bar s \, b_c
              \frac{\sigma^S_c - \sigma^T_c}{\sigma^S_c}
              (x_p - \mu^S_c) \right)

    The cost is memory traffic, so rows are taken in blocks that fit a cache
    and each input is read once in each direction.
    """

    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        teacher: Tensor,
        cells: _Cells,
        eps: float,
    ) -> tuple[Tensor, Tensor]:
        mean_term = student.new_empty(len(student))  # (M,)
        cov_term = torch.empty_like(mean_term)  # (M,)
        kept = []
        for rows in _blocks(student):
            shift, mean_s, sigma_s = _moments(student[rows], cells, eps)
            shift_t, mean_t, sigma_t = _moments(teacher[rows], cells, eps)
            mean_gap = (mean_s - mean_t).add_(shift - shift_t)  # (C, B)
            sigma_gap = sigma_s - sigma_t  # (C, B)
            torch.mean(mean_gap.square(), dim=0, out=mean_term[rows])
            torch.mean(sigma_gap.square(), dim=0, out=cov_term[rows])
            if ctx.needs_input_grad[0]:
                slope = sigma_gap.div_(sigma_s).mul_(cells.unbiased)
                kept += [shift, mean_s, mean_gap, slope]
        ctx.save_for_backward(student, *kept)
        ctx.cells = cells
        return mean_term, cov_term

    @staticmethod
    @first_order
    def backward(
        ctx: Any, grad_mean: Tensor, grad_cov: Tensor
    ) -> tuple[Tensor, None, None, None]:
        student, *kept = ctx.saved_tensors
        gradient = torch.empty_like(
            student, memory_format=torch.contiguous_format
        )
        factor = 2 / len(ctx.cells.unbiased)
        for index, rows in enumerate(_blocks(student)):
            shift, mean, mean_gap, slope = kept[4 * index : 4 * index + 4]
            slope = slope * (factor * grad_cov[rows])  # (C, B)
            offset = mean_gap * (factor * grad_mean[rows])  # (C, B)
            offset.addcmul_(slope, mean, value=-1)
            out = gradient[rows]  # (B, P)
            block = student[rows] - shift[:, None]  # (B, P)
            block.mul_(ctx.cells.spread(slope, out=out))
            ctx.cells.spread(offset, out=out).add_(block)
        return gradient, None, None, None


def _moments(
    samples: Tensor, cells: _Cells, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Means of rows, and of their cells mean and standard deviation.

    Cells are measured from the mean of their row: without that shift, a mean
    that is thousands of deviations away from 0 would leave no digits for the
    variance. Cells of one row may still be hundreds of deviations apart.

    Returns:
        Shift (B,), means of the cells less the shift and standard deviations
        of the cells, both (C, B).
    """
    shift = samples.mean(dim=1)  # (B,)
    block = samples - shift[:, None]  # (B, P)
    mean = cells.average(block)  # (C, B)
    variance = cells.average(block.square_())  # (C, B)
    # rounding may leave a constant cell a little below 0
    variance.addcmul_(mean, mean, value=-1).clamp_(min=0)
    return shift, mean, variance.mul_(cells.unbiased).add_(eps).sqrt_()


def _blocks(samples: Tensor) -> list[slice]:
    """Rows in blocks that fit a cache on a CPU, or bound memory elsewhere."""
    num_rows, num_samples = samples.shape
    entries = 2**17 if samples.device.type == 'cpu' else 2**25
    step = max(1, entries // num_samples)
    return [slice(i, i + step) for i in range(0, num_rows, step)]


def _cell_roots(feats: Tensor, grid: int) -> tuple[Tensor, Tensor]:
    """Mean of every cell and a square root of its covariance.

    Returns:
        Means (N, D, g * g), and x (N, g * g, D, n) with the covariance
        ``x x^T``: the centred samples over the root of their number less one.
        A cell with fewer than n positions is filled up with zeros.
    """
    height, width = feats.shape[2:]
    positions = torch.arange(height * width).view(height, width)
    cells = [
        positions[rows.start : rows.stop, cols.start : cols.stop].flatten()
        for rows in _spans(height, grid)
        for cols in _spans(width, grid)
    ]
    index = pad_sequence(cells, batch_first=True).to(feats.device)
    counts = feats.new_tensor([len(cell) for cell in cells])  # (g * g,)
    ranks = torch.arange(index.shape[1], device=feats.device)
    mask = ranks < counts[:, None]  # (g * g, n)

    samples = feats.flatten(2).index_select(2, index.flatten())
    samples = samples.unflatten(2, index.shape) * mask  # (N, D, g * g, n)
    mean = samples.sum(dim=3) / counts  # (N, D, g * g)
    centered = (samples - mean[..., None]) * mask
    dof = (counts - 1).clamp(min=1)
    return mean, (centered / dof[:, None].sqrt()).transpose(1, 2)


def _squared_bures(x: Tensor, y: Tensor) -> Tensor:
    """Squared Bures distance between ``x x^T`` and ``y y^T``.

    Args:
        x: Root of the student's covariances, of shape (..., D, n).
        y: Root of the teacher's, of the same shape.

    Returns:
        Distance of each pair, of shape (...).
    """
    dtype = x.dtype
    num_channels, num_samples = x.shape[-2:]
    if num_samples <= num_channels:
        # tr((Sigma_T^1/2 Sigma_S Sigma_T^1/2)^1/2) is the sum of singular
        # values of y^T x whatever square roots x and y of the covariances
        # are taken; its derivative U V^T never divides by a gap or a zero.
        fidelity = torch.linalg.svdvals(y.mT @ x).sum(dim=-1)
    else:
        # roots of eigenvalues have half their digits, and the traces cancel
        # against their sum
        x, y = x.double(), y.double()
        fidelity = _Fidelity.apply(x @ x.mT, y @ y.mT)
    traces = x.square().sum(dim=(-2, -1)) + y.square().sum(dim=(-2, -1))
    # rounding may leave a distance of equal sides a little below 0
    return (traces - 2 * fidelity).clamp(min=0).to(dtype)


class _Fidelity(torch.autograd.Function):
    r"""Root fidelity of covariance matrices, safe where they are singular.

    .. math:: F = \mathrm{tr}((T^{1/2} S T^{1/2})^{1/2}), \quad
              dF/dS = \tfrac12 T^{1/2} (T^{1/2} S T^{1/2})^{-1/2} T^{1/2}

    The inverse root is taken on the numerical range alone: directions in
    which one side has no variance get no gradient instead of an infinite
    one. Only ``S`` is differentiated. Both matrices are float64.
    """

    @staticmethod
    def forward(ctx: Any, s: Tensor, t: Tensor) -> Tensor:
        root_t = _psd_root(t)  # (..., D, D)
        eigenvalues, vectors = torch.linalg.eigh(root_t @ s @ root_t)
        roots = eigenvalues.clamp(min=0).sqrt()  # (..., D)
        # what is below the rounding of s is noise
        noise = (
            roots.amax(dim=-1, keepdim=True)
            * (torch.finfo(s.dtype).eps * s.shape[-1]) ** 0.5
        )
        inverse = torch.where(roots > noise, 1 / roots, 0)
        half = root_t @ vectors  # (..., D, D)
        ctx.save_for_backward(0.5 * (half * inverse[..., None, :]) @ half.mT)
        return roots.sum(dim=-1)

    @staticmethod
    @first_order
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return grad_output[..., None, None] * gradient, None


def _psd_root(matrix: Tensor) -> Tensor:
    eigenvalues, vectors = torch.linalg.eigh(matrix)
    roots = eigenvalues.clamp(min=0).sqrt()
    return (vectors * roots[..., None, :]) @ vectors.mT
