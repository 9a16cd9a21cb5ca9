"""Bures distance between covariances, by roots that need not be square.

Shapes: N maps, D channels, (H, W) positions, C = g * g cells with up to n
positions each.
"""

from typing import Any

import torch
from torch import Tensor

from mmwkd.functional.extents import cell_borders, content_sides
from mmwkd.functional.precision import first_order


def full_terms(
    student_feats: Tensor,
    teacher_feats: Tensor,
    extents: Tensor | None,
    grid: int,
) -> Tensor:
    """Mean and covariance term for full covariances, side by side, (N, 2).

    Arguments are those of :func:`mmwkd.functional.gaussian_wasserstein`.
    """
    mean_s, root_s = _cell_roots(student_feats, grid, extents)
    mean_t, root_t = _cell_roots(teacher_feats, grid, extents)
    mean_term = (mean_s - mean_t).square().sum(dim=1)  # (N, C)
    cov_term = _squared_bures(root_s, root_t)  # (N, C)
    return torch.stack([mean_term, cov_term], dim=2).mean(dim=1)


def _cell_roots(
    feats: Tensor, grid: int, extents: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Mean (N, D, C) of every cell, and a root of its covariance.

    The root x (N, C, D, n) with the covariance ``x x^T`` is the centred
    samples over the root of their number less one, filled up with zeros.
    """
    index, outside = _cell_positions(feats, grid, extents)  # (G, C, n)
    counts = (~outside).sum(dim=2).to(feats.dtype)  # (G, C)
    samples = _take(feats.flatten(2), index)  # (N, D, C, n)
    samples = samples.masked_fill(outside[:, None], 0)
    mean = samples.sum(dim=3) / counts[:, None]  # (N, D, C)
    centred = (samples - mean[..., None]).masked_fill(outside[:, None], 0)
    dof = (counts - 1).clamp(min=1)  # (G, C)
    return mean, (centred / dof[:, None, :, None].sqrt()).transpose(1, 2)


def _cell_positions(
    feats: Tensor, grid: int, extents: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Indices of the positions of each cell, and which are too many.

    Both are (G, C, n), of the H * W positions.
    """
    height, width = feats.shape[2:]
    sides = []
    for sizes, size in zip(
        content_sides(extents, feats), (height, width), strict=True
    ):
        starts, stops = cell_borders(sizes, grid)
        # a cell reaches into two positions that it shares with neighbours
        longest = min(size, -(-size // grid) + (size % grid > 0))
        if extents is not None:
            longest = min(size, -(-size // grid) + 1)
        line = starts[..., None] + torch.arange(longest, device=feats.device)
        sides.append((line.clamp(max=size - 1), line >= stops[..., None]))
    (rows, outside_rows), (cols, outside_cols) = sides  # (G, g, longest)
    index = rows[:, :, None, :, None] * width + cols[:, None, :, None]
    outside = (
        outside_rows[:, :, None, :, None] | outside_cols[:, None, :, None]
    )
    return (
        index.flatten(3).flatten(1, 2),
        outside.flatten(3).flatten(1, 2),
    )


def _take(samples: Tensor, index: Tensor) -> Tensor:
    """Samples (N, D, P) at indices (G, C, n), of shape (N, D, C, n)."""
    if len(index) == 1:
        taken = samples.index_select(2, index.flatten())
    else:
        flat = index.flatten(1)[:, None].expand(-1, samples.shape[1], -1)
        taken = samples.gather(2, flat)
    return taken.unflatten(2, index.shape[1:])


def _squared_bures(x: Tensor, y: Tensor) -> Tensor:
    """Squared Bures distance between ``x x^T`` and ``y y^T``, (...).

    Roots of the student's and the teacher's covariances are (..., D, n).
    """
    dtype = x.dtype
    num_channels, num_samples = x.shape[-2:]
    if num_samples <= num_channels:
        fidelity = _NuclearNorm.apply(x, y)
    else:
        # roots of eigenvalues have half their digits, and the traces cancel
        # against their sum
        x, y = x.double(), y.double()
        fidelity = _Fidelity.apply(x, y)
    traces = x.square().sum(dim=(-2, -1)) + y.square().sum(dim=(-2, -1))
    # rounding may leave a distance of equal sides a little below 0
    return (traces - 2 * fidelity).clamp(min=0).to(dtype)


class _NuclearNorm(torch.autograd.Function):
    r"""Root fidelity of ``x x^T`` and ``y y^T`` by singular values.

    .. math:: F = \mathrm{tr}((T^{1/2} S T^{1/2})^{1/2}) = \|y^T x\|_*, \quad
              dF/dx = y \, U V^T

    whatever square roots x and y of S and T are taken; ``U`` and ``V`` are
    the singular vectors of ``y^T x``. No gap or zero divides the
    derivative. Only ``x`` is differentiated.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        matrix = y.mT @ x  # (..., n, n)
        if not ctx.needs_input_grad[0]:
            return torch.linalg.svdvals(matrix).sum(dim=-1)
        u, values, vh = torch.linalg.svd(matrix, full_matrices=False)
        ctx.save_for_backward(y, u @ vh)
        return values.sum(dim=-1)

    @staticmethod
    @first_order
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        y, direction = ctx.saved_tensors
        return y @ (grad_output[..., None, None] * direction), None


class _Fidelity(torch.autograd.Function):
    r"""Root fidelity of ``S = x x^T`` and ``T = y y^T`` by eigenvalues.

    .. math:: F = \mathrm{tr}((T^{1/2} S T^{1/2})^{1/2}), \quad
              dF/dx = T^{1/2} (T^{1/2} S T^{1/2})^{-1/2} T^{1/2} \, x

    The inverse root is taken on the numerical range alone: directions in
    which one side has no variance get no gradient instead of an infinite
    one. Only ``x`` is differentiated. Both roots are float64.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        root_t = _psd_root(y @ y.mT)  # (..., D, D)
        eigenvalues, vectors = torch.linalg.eigh(root_t @ (x @ x.mT) @ root_t)
        roots = eigenvalues.clamp(min=0).sqrt()  # (..., D)
        # what is below the rounding of the product is noise
        noise = (
            roots.amax(dim=-1, keepdim=True)
            * (torch.finfo(x.dtype).eps * x.shape[-2]) ** 0.5
        )
        inverse = torch.where(roots > noise, 1 / roots, 0)
        half = root_t @ vectors  # (..., D, D)
        slope = (half * inverse[..., None, :]) @ half.mT  # (..., D, D)
        ctx.save_for_backward(x, slope)
        return roots.sum(dim=-1)

    @staticmethod
    @first_order
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        x, slope = ctx.saved_tensors
        return (grad_output[..., None, None] * slope) @ x, None


def _psd_root(matrix: Tensor) -> Tensor:
    eigenvalues, vectors = torch.linalg.eigh(matrix)
    roots = eigenvalues.clamp(min=0).sqrt()
    return (vectors * roots[..., None, :]) @ vectors.mT
