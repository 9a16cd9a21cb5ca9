"""Which part of a map is the image, and which its padding.

Shapes: N maps, (H, W) positions, a grid of (g, g) cells. Content lies at the
top left of a map; G is N, or 1 where all maps are content alone.
"""

import torch
from torch import Tensor

# a rest below this is the rounding of a stride, not content
_TOLERANCE = 1e-3


def content_sides(
    extents: Tensor | None, feats: Tensor
) -> tuple[Tensor, Tensor]:
    """Whole positions along both sides that are content.

    A position that is content in part counts: extents (N, 2), which may be
    fractions, are rounded up. There is at least one. Heights and widths are
    (G,), int64, and computed on the device of the maps (N, D, H, W).
    """
    sizes = feats.shape[2:]
    if extents is None:
        height, width = (
            torch.full((1,), size, device=feats.device) for size in sizes
        )
        return height, width
    if extents.shape != (len(feats), 2):
        raise ValueError(
            f'extents must have shape ({len(feats)}, 2), a height and a width '
            f'for each map, got {tuple(extents.shape)}'
        )
    whole = (extents - _TOLERANCE).ceil()
    height, width = (
        whole[:, side].clamp(1, size).long() for side, size in enumerate(sizes)
    )
    return height, width


def padding_mask(extents: Tensor | None, feats: Tensor) -> Tensor | None:
    """Where maps (N, D, H, W) are padding, (N, 1, H, W); None for nowhere."""
    if extents is None:
        return None
    height, width = content_sides(extents, feats)
    rows, cols = (
        torch.arange(size, device=feats.device) for size in feats.shape[2:]
    )
    outside_rows = rows >= height[:, None]  # (N, H)
    outside_cols = cols >= width[:, None]  # (N, W)
    return (outside_rows[:, :, None] | outside_cols[:, None])[:, None]


def blank(padding: Tensor | None, feats: Tensor) -> Tensor:
    """Maps (N, D, H, W) that are 0 in their padding (N, 1, H, W)."""
    return feats if padding is None else feats.masked_fill(padding, 0)


def cell_borders(sides: Tensor, grid: int) -> tuple[Tensor, Tensor]:
    """First position of each cell along a side, and that behind its last.

    Borders are those of adaptive average pooling: floor(i h / g) and
    ceil((i + 1) h / g) for a side of h positions. Sides are (G,), starts and
    stops (G, g).
    """
    cells = torch.arange(grid, device=sides.device)
    starts = cells * sides[:, None] // grid
    stops = -(-(cells + 1) * sides[:, None] // grid)
    return starts, stops


def averaging_weights(
    sides: Tensor, grid: int, size: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Weights with which positions along a side enter each cell's mean.

    Of ``size`` positions, ``sides`` (G,) are content. Weights (G, g, size)
    have rows that sum to 1; beside them is the size of each cell, (G, g).
    """
    starts, stops = cell_borders(sides, grid)
    positions = torch.arange(size, device=sides.device)
    inside = (positions >= starts[..., None]) & (positions < stops[..., None])
    counts = (stops - starts).to(dtype)  # (G, g)
    return inside.to(dtype) / counts[..., None], counts
