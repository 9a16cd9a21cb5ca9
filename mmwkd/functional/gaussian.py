"""Wasserstein distance between Gaussians of features (WKD-F).

Shapes: N maps, D channels, (H, W) positions, a grid of (g, g) cells with
n positions each. The positions of a cell are the samples of one Gaussian.
"""

from __future__ import annotations

import functools
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from mmwkd.functional.blocks import in_blocks
from mmwkd.functional.bures import full_terms
from mmwkd.functional.checks import (
    check_at_least,
    check_feats,
    check_positive,
)
from mmwkd.functional.extents import (
    averaging_weights,
    content_sides,
    padding_mask,
)
from mmwkd.functional.precision import (
    computing_dtype,
    first_order,
    with_exact_products,
)

Covariance = Literal['diag', 'full']
COVARIANCES = ('diag', 'full')

# Positions up to which averaging a map over its cells is one product; beyond,
# averaging its lines first takes less arithmetic.
_SMALL_MAP = 256


@with_exact_products
def gaussian_wasserstein(
    student_feats: Tensor,
    teacher_feats: Tensor,
    *,
    grid: int = 1,
    covariance: Covariance = 'diag',
    eps: float = 1e-5,
    extents: Tensor | None = None,
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
        extents: Height and width of each image's own content, at the top
            left of its map, in positions, of shape (N, 2) and on the device
            of the maps; fractions are rounded up. The rest is padding and
            takes no part: cells are laid over the content. None if maps are
            content alone.

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
        check_positive(eps=eps)
    if student_feats.shape[2:] == (grid, grid) and extents is None:
        return _distance_of_positions(student_feats, teacher_feats)
    if covariance == 'diag':
        return _diagonal_distance(
            student_feats, teacher_feats, grid, eps, extents
        )
    terms = in_blocks(
        functools.partial(full_terms, grid=grid),
        0,
        student_feats,
        teacher_feats,
        extents,
        factor=8,  # samples and roots of both sides
    )  # (N, 2)
    mean_term, cov_term = terms.unbind(dim=1)
    return mean_term, cov_term


def _distance_of_positions(
    student_feats: Tensor, teacher_feats: Tensor
) -> tuple[Tensor, Tensor]:
    """Terms where a cell is a position: its feature, and no covariance."""
    height, width = student_feats.shape[2:]
    distance = in_blocks(
        lambda student, teacher: (student - teacher).square().sum((1, 2, 3)),
        1,
        student_feats,
        teacher_feats,
    )  # (N,)
    mean_term = distance / (height * width)
    return mean_term, 0 * mean_term


def _diagonal_distance(
    student_feats: Tensor,
    teacher_feats: Tensor,
    grid: int,
    eps: float,
    extents: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Mean and covariance term for diagonal covariances, both (N,)."""
    n, d, *sides = student_feats.shape
    # maps that share their cells are one group of rows, others one each
    groups = (1, n * d) if extents is None else (n, d)
    terms = _DiagonalDistance.apply(
        student_feats.reshape(*groups, *sides),
        teacher_feats.reshape(*groups, *sides),
        _cells(student_feats, grid, extents),
        eps,
    )
    mean_term, cov_term = (term.view(n, d).sum(dim=1) for term in terms)
    return mean_term, cov_term


class _Cells(NamedTuple):
    """Averages over A * E cells of G groups of maps (G, B, H, W).

    On small maps, A is the number of cells and E is 1; on others A cells lie
    side by side and E above each other. Values of cells are (G, A, B, E).
    """

    # weights along the width, (G, A, W), or of all positions, (G, A, H * W);
    # None for one cell that is the whole map
    cols: Tensor | None
    rows: Tensor | None  # weights along the height, (G, E, H); None for E = 1
    unbiased: Tensor  # n / (n - 1) of each cell, (G, A, 1, E)
    padding: Tensor | None  # positions that take no part, (G, 1, H, W)
    area: Tensor  # positions that do, (G, 1)

    def centred(self, feats: Tensor, room: Tensor) -> tuple[Tensor, Tensor]:
        """Maps less the mean of their content, and these means (G, B).

        Without that shift, a mean that is thousands of deviations away from
        0 would leave no digits for the variance. Cells of one map may still
        be hundreds of deviations apart.
        """
        if self.padding is not None:
            feats = feats.masked_fill(self.padding, 0)
        shift = feats.sum(dim=(2, 3), dtype=self.area.dtype) / self.area
        return torch.sub(feats, shift[..., None, None], out=room), shift

    def average(self, maps: Tensor) -> Tensor:
        """Means of the cells, of shape (G, A, B, E)."""
        if self.cols is None:
            return maps.mean(dim=(2, 3))[:, None, :, None]
        if self.rows is None:
            return torch.bmm(self.cols, maps.flatten(2).mT)[..., None]
        lines = torch.bmm(self.cols, maps.flatten(1, 2).mT)  # (G, A, B * H)
        lines = lines.unflatten(2, maps.shape[1:3]).flatten(1, 2)
        means = torch.bmm(lines, self.rows.mT)  # (G, A * B, E)
        return means.unflatten(1, (-1, maps.shape[1]))

    def spread(self, values: Tensor, room: Tensor) -> Tensor:
        """Add up w_cp times values (G, A, B, E) over cells c.

        Sums have the shape of the room, or one that broadcasts to it.
        """
        if self.cols is None:
            return values[:, 0, :, :, None] / room[0, 0].numel()
        if self.rows is None:
            torch.bmm(values[..., 0].mT, self.cols, out=room.flatten(2))
            return room
        lines = torch.bmm(values.flatten(1, 2), self.rows)  # (G, A * B, H)
        lines = lines.unflatten(1, values.shape[1:3]).flatten(2)
        torch.bmm(lines.mT, self.cols, out=room.flatten(1, 2))
        return room


def _cells(feats: Tensor, grid: int, extents: Tensor | None) -> _Cells:
    """Cells of the grid on maps (N, D, H, W)."""
    height, width = feats.shape[2:]
    dtype = computing_dtype(feats)
    heights, widths = content_sides(extents, feats)
    rows, row_counts = averaging_weights(heights, grid, height, dtype)
    cols, col_counts = averaging_weights(widths, grid, width, dtype)
    counts = col_counts[:, :, None] * row_counts[:, None]  # (G, g, g)
    flat = height * width <= _SMALL_MAP
    if flat:
        cols = torch.einsum('gaw,geh->gaehw', cols, rows)
        cols = cols.flatten(3).flatten(1, 2)  # (G, g * g, H * W)
        counts = counts.flatten(1)[..., None]  # (G, g * g, 1)
    whole = grid == 1 and extents is None
    # a cell of one position keeps its variance of 0
    unbiased = counts / (counts - 1).clamp(min=1)
    return _Cells(
        cols=None if whole else cols,
        rows=None if whole or flat else rows,
        unbiased=unbiased[:, :, None],
        padding=padding_mask(extents, feats),
        area=(heights * widths)[:, None].to(dtype),
    )


class _DiagonalDistance(torch.autograd.Function):
    r"""Distance between maps, averaged over cells.

    Shapes: G groups of M maps of one channel, P positions, C cells, values of
    cells (G, A, B, E) for B of the maps.

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

    The cost is memory traffic, so maps are taken in blocks that fit a cache,
    cast there, and each input is read once in each direction.
    """

    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        teacher: Tensor,
        cells: _Cells,
        eps: float,
    ) -> tuple[Tensor, Tensor]:
        dtype = computing_dtype(student)
        mean_term = student.new_empty(student.shape[:2], dtype=dtype)
        cov_term = torch.empty_like(mean_term)  # (G, M)
        kept = []
        (room,) = _rooms(student, 1)
        for block in _blocks(student):
            shift, mean_s, sigma_s = _moments(student[block], cells, eps, room)
            shift_t, mean_t, sigma_t = _moments(
                teacher[block], cells, eps, room
            )
            mean_gap = mean_s - mean_t  # (G, A, B, E)
            mean_gap += (shift - shift_t)[:, None, :, None]
            sigma_gap = sigma_s - sigma_t  # (G, A, B, E)
            mean_term[block] = mean_gap.square().mean(dim=(1, 3))
            cov_term[block] = sigma_gap.square().mean(dim=(1, 3))
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
        cells = ctx.cells
        gradient = torch.empty_like(
            student, memory_format=torch.contiguous_format
        )
        factor = 2 / (cells.unbiased.shape[1] * cells.unbiased.shape[3])
        rooms = _rooms(student, 2)
        for index, block in enumerate(_blocks(student)):
            room, other = (
                each[:, : student[block].shape[1]] for each in rooms
            )
            shift, mean, mean_gap, slope = kept[4 * index : 4 * index + 4]
            slope = slope * (factor * grad_cov[block])[:, None, :, None]
            offset = mean_gap * (factor * grad_mean[block])[:, None, :, None]
            offset.addcmul_(slope, mean, value=-1)
            centred = torch.sub(
                student[block], shift[..., None, None], out=room
            )  # (G, B, H, W)
            if cells.padding is not None:
                centred.masked_fill_(cells.padding, 0)
            centred.mul_(cells.spread(slope, other))
            torch.add(
                centred, cells.spread(offset, other), out=gradient[block]
            )
        return gradient, None, None, None


def _moments(
    feats: Tensor, cells: _Cells, eps: float, room: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Means (G, B) of maps, and moments of their cells, both (G, A, B, E).

    The moments are means, less those of the maps, and standard deviations.
    """
    centred, shift = cells.centred(feats, room[:, : feats.shape[1]])
    mean = cells.average(centred)
    variance = cells.average(centred.square_())
    # rounding may leave a constant cell a little below 0
    variance.addcmul_(mean, mean, value=-1).clamp_(min=0)
    return shift, mean, variance.mul_(cells.unbiased).add_(eps).sqrt_()


def _block_size(feats: Tensor) -> int:
    """Maps in a block that fits a cache on a CPU, or bounds memory elsewhere.

    Much smaller ones would take longer to start than to compute.
    """
    num_groups, _, height, width = feats.shape
    entries = 2**19 if feats.device.type == 'cpu' else 2**25
    return max(1, entries // max(1, num_groups * height * width))


def _blocks(feats: Tensor) -> list[tuple[slice, slice]]:
    step = _block_size(feats)
    everyone = slice(None)
    return [
        (everyone, slice(first, first + step))
        for first in range(0, feats.shape[1], step)
    ]


def _rooms(feats: Tensor, count: int) -> list[Tensor]:
    """Memory for blocks of maps; all of them use it, one after the other."""
    num_groups, num_maps, *sides = feats.shape
    size = min(num_maps, _block_size(feats))
    shape = num_groups, size, *sides
    return [
        feats.new_empty(shape, dtype=computing_dtype(feats))
        for _ in range(count)
    ]
