"""Compare class logits of predictions that are about the same box.

Shapes: N images, T predictions of the teacher, M of the student, B of the
student's closest to one of the teacher's, R = N * T, K categories, background
included and last.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmwkd.distillers.alignment import (
    DetectorPair,
    check_num_classes,
    check_same_size,
)
from mmwkd.distillers.categories import category_logits
from mmwkd.distillers.places.base import (
    ConfidentLogitPlace,
    Needs,
    Step,
    bind_classes,
)
from mmwkd.distillers.predictions import (
    Predictions,
    check_predictions,
    pick,
    prediction_head,
)
from mmwkd.functional.checks import check_at_least
from mmwkd.losses import DistillationLoss

# two boxes are one from here on, as for mmdet's assigners and metrics
_SAME_BOX_IOU = 0.5
# of the student's boxes, those that a box of the teacher may be
_NUM_CLOSEST = 32
# overlaps that are held at once
_BLOCK_ENTRIES = 2**23


class MatchedLogitPlace(ConfidentLogitPlace):
    """Class logits of the teacher's predictions and the student's closest.

    For a teacher that cannot judge given boxes. Each of its confident
    predictions meets the student's one that overlaps it most and agrees with
    it most; where none overlaps it by half, it teaches nothing.

    Args:
        loss: Loss to compare with.
        pair: The detectors.
        max_matches: Predictions of the teacher for each image.
    """

    title = 'logit_loss of matched predictions'
    needs = Needs(student_predictions=True, teacher_predictions=True)

    def __init__(
        self,
        loss: DistillationLoss,
        pair: DetectorPair,
        *,
        max_matches: int = 300,
    ) -> None:
        super().__init__(loss, pair)
        check_at_least(1, max_matches=max_matches)
        self._max_matches = max_matches
        check_same_size(pair, self.title)
        check_predictions('student', pair.student)
        check_predictions('teacher', pair.teacher.detector)
        head = prediction_head(pair.teacher.detector)
        check_num_classes('the head', prediction_head(pair.student), head)
        self.num_classes = head.num_classes
        bind_classes(loss, pair.teacher, head)

    def logits(self, step: Step) -> tuple[Tensor, Tensor, Tensor]:
        """At most ``max_matches`` rows an image."""
        student, teacher = step.student.predictions, step.teacher.predictions
        assert student is not None  # the place needs them
        assert teacher is not None  # the place needs them
        index = teacher.most_confident(self.num_classes, self._max_matches)
        if student.boxes.shape[1] == 0:  # no RoI, so nothing to match
            index = index[:, :0]
        teacher_logits = category_logits(
            teacher.rows(index), self.num_classes
        )  # (N, T, K)
        match, same_box = closest(
            student,
            pick(teacher.boxes, index),
            teacher_logits,
            self.num_classes,
        )
        if teacher.owned is not None:
            same_box = same_box & pick(teacher.owned, index)
        student_logits = category_logits(student.rows(match), self.num_classes)
        return (
            student_logits.flatten(0, 1),
            teacher_logits.flatten(0, 1),
            same_box.flatten(),
        )


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
        Rows of the student, and whether they are about the same box, both of
        shape (N, T).
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
    best = (1 - iou + variation).argmin(dim=2, keepdim=True)  # (N, T, 1)
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
