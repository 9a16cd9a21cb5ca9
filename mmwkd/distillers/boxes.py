"""Bring the box predictions of two heads into one coding.

Shapes: R RoIs, C foreground categories.
"""

from __future__ import annotations

import math

import torch
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from torch import Tensor

# how far mmdet's coder stretches a RoI at most
_WH_RATIO_CLIP = 16 / 1000


def deltas_of_label(deltas: Tensor, labels: Tensor) -> Tensor:
    """Deltas (R, 4) that the categories (R,) of RoIs have.

    Args:
        deltas: Deltas of shape (R, 4 * C), or (R, 4) if class-agnostic.
        labels: Category of each RoI; any of the background, of shape (R,).
    """
    per_class = deltas.unflatten(1, (-1, 4))
    # a class-agnostic head has one entry, and background has none of its own
    index = labels.clamp(max=per_class.shape[1] - 1)
    return per_class[torch.arange(len(index), device=index.device), index]


def recode(
    deltas: Tensor,
    rois: Tensor,
    source: DeltaXYWHBBoxCoder,
    target: DeltaXYWHBBoxCoder,
) -> Tensor:
    """Express deltas (R, 4) of RoIs (R, 5) in the coding of another head.

    Args:
        deltas: Deltas in the coding of ``source``.
        rois: The RoIs.
        source: The coder of the head that predicted them.
        target: The coder that is wanted.
    """
    if not (_is_affine(source) and _is_affine(target)):
        boxes = rois[:, 1:].float()
        return target.encode(boxes, source.decode(boxes, deltas.float()))
    largest = abs(math.log(_WH_RATIO_CLIP))
    columns = []
    for index, column in enumerate(deltas.float().unbind(dim=1)):
        value = column * source.stds[index] + source.means[index]
        if index >= 2:  # what decoding would clip: log of width and height
            value = value.clamp(-largest, largest)
        columns.append((value - target.means[index]) / target.stds[index])
    return torch.stack(columns, dim=1)


def offsets(boxes: Tensor, references: Tensor) -> Tensor:
    """Code boxes by others, in the units of most box heads.

    Args:
        boxes: Corners, of shape (R, 4).
        references: Corners of the boxes that they are coded by, (R, 4).

    Returns:
        Offsets of the centre in tenths of the reference's size, and the log
        of the ratio of sizes in fifths, of shape (R, 4).
    """
    (centre, size), (origin, unit) = (
        # the clamp keeps boxes without area, which match none, finite
        ((x[:, :2] + x[:, 2:]) / 2, (x[:, 2:] - x[:, :2]).clamp(min=1e-3))
        for x in (boxes, references)
    )
    return torch.cat(
        [(centre - origin) / unit / 0.1, (size / unit).log() / 0.2], dim=1
    )


def _is_affine(coder: DeltaXYWHBBoxCoder) -> bool:
    """Whether offsets and stretches of a RoI are coded by scale and mean.

    The coders would copy their means and scales from the host in every step.
    """
    return type(coder) is DeltaXYWHBBoxCoder and not coder.add_ctr_clamp
