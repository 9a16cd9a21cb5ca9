"""Bring the box predictions of two heads into one coding.

Shapes: R RoIs, C foreground categories.
"""

from __future__ import annotations

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from torch import Tensor

from mmwkd.distillers.capture import box_heads


def check_box_heads(role: str, detector: BaseDetector) -> None:
    """Refuse box heads that do not predict deltas of their RoIs.

    Args:
        role: 'student' or 'teacher', for messages.
        detector: A two-stage detector.

    Raises:
        ValueError: If a stage has no such box branch.
    """
    for head in box_heads(detector):
        coder = getattr(head, 'bbox_coder', None)
        if not head.with_reg or not isinstance(coder, DeltaXYWHBBoxCoder):
            raise ValueError(
                'box_loss compares deltas of RoIs, but the box branch of the '
                f"{role}'s {type(head).__name__} predicts "
                f'{type(coder).__name__ if head.with_reg else "nothing"}: '
                'leave box_loss out'
            )


def deltas_of_label(deltas: Tensor, labels: Tensor) -> Tensor:
    """Pick the deltas that a RoI's category has.

    Args:
        deltas: Deltas of shape (R, 4 * C), or (R, 4) if class-agnostic.
        labels: Category of each RoI; any of the background, of shape (R,).

    Returns:
        Deltas, of shape (R, 4).
    """
    per_class = deltas.unflatten(1, (-1, 4))
    # a class-agnostic head has one entry, and background has none of its own
    index = labels.clamp(max=per_class.shape[1] - 1)
    return per_class[torch.arange(len(index), device=index.device), index]


def recode(
    deltas: Tensor, rois: Tensor, source: BBoxHead, target: BBoxHead
) -> Tensor:
    """Express boxes in the coding of another head.

    Args:
        deltas: Deltas of RoIs in the coding of ``source``, of shape (R, 4).
        rois: The RoIs, of shape (R, 5).
        source: The head that predicted them.
        target: The head whose coding is wanted.

    Returns:
        Deltas of the same boxes, of shape (R, 4).
    """
    boxes = rois[:, 1:].float()
    decoded = source.bbox_coder.decode(boxes, deltas.float())
    return target.bbox_coder.encode(boxes, decoded)
