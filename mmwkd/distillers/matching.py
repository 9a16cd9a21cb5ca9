"""Find which predictions of two detectors are about the same box.

Shapes: N images, T predictions of the teacher, M of the student, B of the
student's closest to one of the teacher's, K categories, background included
and last.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from mmwkd.distillers.categories import category_logits
from mmwkd.distillers.predictions import Predictions, pick

# two boxes are one from here on, as for mmdet's assigners and metrics
_SAME_BOX_IOU = 0.5
# of the student's boxes, those that a box of the teacher may be
_NUM_CLOSEST = 32
# overlaps that are held at once
_BLOCK_ENTRIES = 2**23


class Matches(NamedTuple):
    """Confident predictions of a teacher, and the student's closest."""

    student_index: Tensor  # (N, T), of rows
    teacher_logits: Tensor  # (N, T, K)
    same_box: Tensor  # (N, T), whether both are about one box


def matches(
    student: Predictions,
    teacher: Predictions,
    num_classes: int,
    count: int,
) -> Matches:
    """Confident predictions of the teacher, and the student's closest."""
    index = teacher.most_confident(num_classes, count)
    if student.boxes.shape[1] == 0:  # no RoI, so nothing to match
        index = index[:, :0]
    logits = category_logits(teacher.rows(index), num_classes)
    match, same_box = closest(
        student, pick(teacher.boxes, index), logits, num_classes
    )
    if teacher.owned is not None:
        same_box = same_box & pick(teacher.owned, index)
    return Matches(match, logits, same_box)


@torch.no_grad()
def closest(
    student: Predictions, boxes: Tensor, logits: Tensor, num_classes: int
) -> tuple[Tensor, Tensor]:
    """The student's prediction that is closest to each of the teacher's.

    Of those whose boxes overlap it most, the one is taken that has the least
    1 - IoU plus total variation between the categories. Several of the
    teacher's may meet in one of the student's: a dense teacher says the same
    thing many times, and one to one matching would have many of a student's
    queries repeat it. Nothing waits for the device.

    Args:
        student: The student's predictions.
        boxes: The teacher's boxes, of shape (N, T, 4).
        logits: Their logits, of shape (N, T, K).
        num_classes: C.

    Returns:
        Rows of the student, (N, T), and whether both are about one box.
    """
    num_images, num_boxes = boxes.shape[:2]
    if num_boxes == 0:
        empty = boxes.new_zeros((num_images, 0))
        return empty.long(), empty.bool()
    count = min(_NUM_CLOSEST, student.boxes.shape[1])
    entries = num_images * student.boxes.shape[1]
    blocks = []
    for block in boxes.split(max(_BLOCK_ENTRIES // entries, 1), dim=1):
        iou = _overlaps(block, student.boxes)  # (N, block, M)
        if student.owned is not None:
            iou = iou.where(student.owned[:, None], -1)
        blocks.append(iou.topk(count, dim=2))
    iou = torch.cat([block.values for block in blocks], dim=1)  # (N, T, B)
    index = torch.cat([block.indices for block in blocks], dim=1)
    candidates = category_logits(
        student.rows(index.flatten(1)), num_classes
    ).unflatten(1, (num_boxes, count))  # (N, T, B, K)
    variation = 0.5 * (
        candidates.float().softmax(dim=3)
        - logits.float().softmax(dim=2)[:, :, None]
    ).abs().sum(dim=3)
    cost = (1 - iou + variation).where(iou >= _SAME_BOX_IOU, torch.inf)
    best = cost.argmin(dim=2, keepdim=True)  # (N, T, 1)
    match, overlap = (x.gather(2, best)[:, :, 0] for x in (index, iou))
    return match, overlap >= _SAME_BOX_IOU


def _overlaps(first: Tensor, second: Tensor) -> Tensor:
    """IoU of boxes (N, T, 4) with boxes (N, M, 4), of shape (N, T, M).

    mmdet's own copies a number to the device each time.
    """
    first, second = first[:, :, None], second[:, None]
    start = torch.maximum(first[..., :2], second[..., :2])
    end = torch.minimum(first[..., 2:], second[..., 2:])
    shared = _area(start, end)
    areas = (
        _area(boxes[..., :2], boxes[..., 2:]) for boxes in (first, second)
    )
    # two boxes without area have no overlap either
    return shared / (sum(areas) - shared).clamp(min=1e-6)


def _area(start: Tensor, end: Tensor) -> Tensor:
    return (end - start).clamp(min=0).prod(dim=-1)
