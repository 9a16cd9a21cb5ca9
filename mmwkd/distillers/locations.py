"""Pick rows out of score maps that are worth comparing.

Shapes: N images, A anchors per point, (H, W) a level's points, M of all levels
in an image, T of them that are picked, R = N * T, C foreground categories,
K = C + 1 with background last, S = C or K. The M are in mmdet's order: by
levels, points and anchors.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmwkd.distillers.categories import category_logits


@torch.no_grad()
def most_confident(
    maps: Sequence[Tensor],
    num_classes: int,
    count: int,
    allowed: Tensor | None = None,
) -> Tensor:
    """Rows with the best score of any foreground category.

    Args:
        maps: Scores of each level, of shape (N, A, S, H, W).
        num_classes: C.
        count: Rows of each image, where there are as many.
        allowed: Which rows come first, of shape (N, M); None for all.

    Returns:
        Indices of shape (N, T), the best first.
    """
    levels = []
    for scores in maps:
        best = scores[:, :, :num_classes].amax(dim=2)  # (N, A, H, W)
        if scores.shape[2] > num_classes:  # of a softmax differences count
            best = best - scores[:, :, num_classes]
        levels.append(best.permute(0, 2, 3, 1).flatten(1))
    confidence = torch.cat(levels, dim=1)  # (N, M)
    if allowed is not None:
        confidence = confidence.where(allowed, -torch.inf)
    return confidence.topk(min(count, confidence.shape[1]), dim=1).indices


def rows_of(maps: Sequence[Tensor], index: Tensor) -> Tensor:
    """Copy rows out of score maps, and nothing else.

    Args:
        maps: Scores of each level, of shape (N, A, S, H, W).
        index: Indices of shape (N, T).

    Returns:
        Scores in the graph, of shape (N, T, S).
    """
    images = torch.arange(len(index), device=index.device)[:, None]
    rows = maps[0].new_zeros(*index.shape, maps[0].shape[2])
    first = 0
    for scores in maps:
        anchors, _, height, width = scores.shape[1:]
        last = first + anchors * height * width
        within = (index - first).clamp(0, max(last - first - 1, 0))
        point = within // anchors
        picked = scores[
            images, within % anchors, :, point // width, point % width
        ]
        inside = (index >= first) & (index < last)
        rows = picked.where(inside[:, :, None], rows)
        first = last
    return rows


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
    are soon certain. Only the ``max_locations`` of each image with the most
    confident foreground score of the teacher are copied out of the maps,
    without waiting for the device. Where the images of one are padded
    further, the rest is cut off.

    Args:
        student_scores: Logits of each level, of shape (N, A, S, H, W).
        teacher_scores: The teacher's, of the same levels.
        num_classes: C.
        max_locations: Locations to keep of each image at most.
    """
    student_maps, teacher_maps = _common(student_scores, teacher_scores)
    index = most_confident(teacher_maps, num_classes, max_locations)
    return Locations(
        *(
            category_logits(rows_of(maps, index).flatten(0, 1), num_classes)
            for maps in (student_maps, teacher_maps)
        )
    )


def _common(
    student: Sequence[Tensor], teacher: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """The part of each level that both have."""
    sizes = [
        tuple(map(min, each.shape[-2:], other.shape[-2:]))
        for each, other in zip(student, teacher, strict=True)
    ]
    student_maps, teacher_maps = (
        [
            scores[..., :height, :width]
            for scores, (height, width) in zip(maps, sizes, strict=True)
        ]
        for maps in (student, teacher)
    )
    return student_maps, teacher_maps
