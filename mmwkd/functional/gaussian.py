"""Wasserstein distance between Gaussians of features (WKD-F).

Shapes: N maps, D channels, (H, W) positions, a grid of (g, g) cells with
n positions each. The positions of a cell are the samples of one Gaussian.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mmwkd.functional.checks import check_at_least, check_feats
from mmwkd.functional.precision import full_precision

Covariance = Literal['diag', 'full']
COVARIANCES = ('diag', 'full')


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

    teacher_feats = teacher_feats.detach()
    if covariance == 'diag':
        mean_s, sigma_s = _cell_deviations(student_feats, grid, eps)
        mean_t, sigma_t = _cell_deviations(teacher_feats, grid, eps)
        cov_term = (sigma_s - sigma_t).square().sum(dim=1)  # (N, g * g)
    else:
        mean_s, root_s = _cell_roots(student_feats, grid)
        mean_t, root_t = _cell_roots(teacher_feats, grid)
        cov_term = _squared_bures(root_s, root_t)  # (N, g * g)
    mean_term = (mean_s - mean_t).square().sum(dim=1)  # (N, g * g)
    return mean_term.mean(dim=1), cov_term.mean(dim=1)


def _spans(size: int, grid: int) -> list[range]:
    """Positions of each cell along a side, as in adaptive average pooling."""
    return [
        range(i * size // grid, -(-(i + 1) * size // grid))
        for i in range(grid)
    ]


def _cell_deviations(
    feats: Tensor, grid: int, eps: float
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every cell, each (N, D, g * g)."""
    n, d, height, width = feats.shape
    row_weights, row_counts = _side_weights(height, grid, feats)
    col_weights, col_counts = _side_weights(width, grid, feats)
    weights = torch.einsum('hi,wj->hwij', row_weights, col_weights)
    weights = weights.flatten(0, 1).flatten(1)  # (H * W, g * g)
    counts = torch.outer(row_counts, col_counts).flatten()  # (g * g,)
    mean, variance = _CellMoments.apply(
        feats.reshape(n * d, height * width), weights
    )
    variance = variance * (counts / (counts - 1).clamp(min=1))  # unbiased
    shape = (n, d, grid * grid)
    return mean.view(shape), (variance + eps).sqrt().view(shape)


def _side_weights(size: int, grid: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Averaging weights of a side's positions, and positions of each span.

    Returns:
        Weights (size, g) whose columns sum to 1, and counts (g,).
    """
    spans = _spans(size, grid)
    weights = torch.zeros(size, grid, dtype=like.dtype)
    for cell, span in enumerate(spans):
        weights[span.start : span.stop, cell] = 1 / len(span)
    counts = like.new_tensor([len(span) for span in spans])  # (g,)
    return weights.to(like.device), counts  # (size, g), (g,)


class _CellMoments(torch.autograd.Function):
    r"""Weighted mean and variance of rows, M rows of P samples in C cells.

    .. math:: \mu_c = \sum_p w_{pc} x_p, \quad
              v_c = \sum_p w_{pc} (x_p - s)^2 - (\mu_c - s)^2, \quad
              \bar x_p = \sum_c w_{pc} (\bar \mu_c
              + 2 \bar v_c (x_p - \mu_c))

    The shift s is the mean of the row. It changes no result, but without it
    a mean that is thousands of deviations away from 0 would leave no digits
    for the variance. On a CPU rows are taken in blocks that fit a cache: the
    cost is memory traffic, and temporaries as large as the input would
    multiply it.
    """

    @staticmethod
    def forward(
        ctx: Any, samples: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        shift = samples.mean(dim=1, keepdim=True)  # (M, 1)
        mean = samples.new_empty(len(samples), weights.shape[1])  # (M, C)
        variance = torch.empty_like(mean)  # (M, C)
        for rows in _blocks(samples):
            block = samples[rows] - shift[rows]
            torch.mm(block, weights, out=mean[rows])
            torch.mm(block.square_(), weights, out=variance[rows])
        # rounding may leave a constant cell a little below 0
        variance.sub_(mean.square()).clamp_(min=0)
        ctx.save_for_backward(samples, weights, shift, mean)
        return mean + shift, variance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, grad_mean: Tensor, grad_variance: Tensor
    ) -> tuple[Tensor, None]:
        samples, weights, shift, mean = ctx.saved_tensors
        slope = 2 * grad_variance  # (M, C)
        offset = grad_mean - slope * mean  # (M, C)
        gradient = torch.empty_like(samples)
        for rows in _blocks(samples):
            block = torch.sub(samples[rows], shift[rows], out=gradient[rows])
            block.mul_(slope[rows] @ weights.T)
            block.addmm_(offset[rows], weights.T)
        return gradient, None


def _blocks(samples: Tensor) -> list[slice]:
    """Rows in blocks of about 2^17 samples on a CPU, else all at once."""
    num_rows, num_samples = samples.shape
    step = max(1, 2**17 // num_samples)
    if samples.device.type != 'cpu':
        step = max(1, num_rows)
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
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return grad_output[..., None, None] * gradient, None


def _psd_root(matrix: Tensor) -> Tensor:
    eigenvalues, vectors = torch.linalg.eigh(matrix)
    roots = eigenvalues.clamp(min=0).sqrt()
    return (vectors * roots[..., None, :]) @ vectors.mT
