"""Pick the locations of a dense head that are worth comparing.

Shapes: N images, A anchors per point, (H, W) a level's points, R locations,
C foreground categories, K = C + 1 with background last, S = C or K.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmwkd.distillers.categories import category_logits


class Locations(NamedTuple):
    """What both detectors say about the same locations of a batch."""

    student_logits: Tensor  # (R, K)
    teacher_logits: Tensor  # (R, K), constant


def confident_locations(
    student_scores: Sequence[Tensor],
    teacher_scores: Sequence[Tensor],
    num_classes: int,
    max_locations: int,
) -> Locations:
    """Compare where the teacher sees an object.

    Nearly all locations of a dense head are empty, and there both detectors
    are soon certain. The ``max_locations`` of each image with the most
    confident foreground score of the teacher are kept. Only these are copied
    out of the given maps; nothing waits for the device.

    Args:
        student_scores: Logits of each level, of shape (N, A, S, H, W).
        teacher_scores: The teacher's, of the same levels; where its images
            are padded further, the rest is cut off.
        num_classes: C.
        max_locations: Locations to keep of each image, where there are as
            many.

    Returns:
        The locations, R of at most N * ``max_locations``.
    """
    picked = [
        _most_confident(*scores, num_classes, max_locations)
        for scores in zip(student_scores, teacher_scores, strict=True)
    ]
    confidence, student_rows, teacher_rows = (
        torch.cat(parts, dim=1) for parts in zip(*picked, strict=True)
    )  # (N, M), (N, M, S), (N, M, S)
    count = min(max_locations, confidence.shape[1])
    index = confidence.topk(count, dim=1).indices  # (N, count)
    rows = torch.arange(len(index), device=index.device)[:, None]
    return Locations(
        category_logits(student_rows[rows, index].flatten(0, 1), num_classes),
        category_logits(teacher_rows[rows, index].flatten(0, 1), num_classes),
    )


def _most_confident(
    student: Tensor, teacher: Tensor, num_classes: int, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Candidates of one level: (N, M), and scores (N, M, S) of both."""
    height = min(student.shape[-2], teacher.shape[-2])
    width = min(student.shape[-1], teacher.shape[-1])
    student, teacher = (x[..., :height, :width] for x in (student, teacher))
    best = teacher[:, :, :num_classes].amax(dim=2)  # (N, A, H, W)
    if teacher.shape[2] > num_classes:  # of a softmax only differences count
        best = best - teacher[:, :, num_classes]
    best = best.flatten(1)  # (N, A * H * W)
    confidence, index = best.topk(min(count, best.shape[1]), dim=1)
    point = index % (height * width)
    where = (
        torch.arange(len(index), device=index.device)[:, None],
        index // (height * width),
        slice(None),
        point // width,
        point % width,
    )
    return confidence, student[where], teacher[where]
