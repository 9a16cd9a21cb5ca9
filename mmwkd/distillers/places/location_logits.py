"""Compare the class logits of dense heads at the same locations.

Shapes: N images, R locations, A anchors per point, (H, W) a level's points, C
foreground categories, K = C + 1 with background last, S = C or K.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmwkd.distillers.alignment import DetectorPair, check_same_size
from mmwkd.distillers.categories import category_logits, check_dense_head
from mmwkd.distillers.places.base import (
    ConfidentLogitPlace,
    Needs,
    Place,
    Step,
)
from mmwkd.distillers.predictions import (
    inside_images,
    most_confident,
    pick,
    rows_of,
)
from mmwkd.functional.checks import check_at_least
from mmwkd.losses import DistillationLoss


class LocationPlace(Place):
    """Compares dense heads where the teacher is most confident of an object.

    Args:
        max_locations: Locations of each image that are compared.
    """

    def __init__(
        self,
        loss: DistillationLoss,
        pair: DetectorPair,
        *,
        max_locations: int = 512,
    ) -> None:
        super().__init__(loss, pair)
        check_at_least(1, max_locations=max_locations)
        self._max_locations = max_locations
        self._strides = [
            stride for stride, _ in pair.student_probe.dense_levels
        ]
        check_same_size(pair, self.title)

    @classmethod
    def check(cls, pair: DetectorPair) -> None:
        """Both dense heads must score the same locations."""
        check_dense_heads(pair)

    def locations(
        self, teacher_maps: Sequence[Tensor], num_classes: int, step: Step
    ) -> tuple[Tensor, Tensor | None]:
        """Rows (N, T) with the teacher's best scores of any object.

        Nearly all locations of a dense head are empty, and there both
        detectors are soon certain. Padding has no part: beside the rows is
        which of them lie in their images, of shape (N, T), or None for all.
        """
        inside = None
        if step.image_sizes is not None:
            inside = inside_images(
                teacher_maps, self._strides, step.image_sizes
            )
        index = most_confident(
            teacher_maps, num_classes, self._max_locations, inside
        )
        return index, None if inside is None else pick(inside, index)


class LocationLogitPlace(LocationPlace, ConfidentLogitPlace):
    """Class logits of the teacher's most confident locations."""

    title = 'logit_loss between dense detectors'
    needs = Needs(dense_scores=True)

    def logits(self, step: Step) -> tuple[Tensor, Tensor, Tensor | None]:
        """At most ``max_locations`` rows an image, which alone are copied."""
        student_maps, teacher_maps = common_maps(
            step.student.scores, step.teacher.scores
        )
        index, inside = self.locations(teacher_maps, self.num_classes, step)
        student_logits, teacher_logits = (
            category_logits(rows_of(maps, index), self.num_classes)
            for maps in (student_maps, teacher_maps)
        )
        return (
            student_logits.flatten(0, 1),
            teacher_logits.flatten(0, 1),
            None if inside is None else inside.flatten(),
        )


def check_dense_heads(pair: DetectorPair) -> None:
    """Refuse dense heads that do not score the same locations."""
    student, teacher = pair.student, pair.teacher.detector
    for detector in (student, teacher):
        check_dense_head(getattr(detector, 'bbox_head', None))
    student_levels = pair.student_probe.dense_levels
    teacher_levels = pair.teacher_probe.dense_levels
    if student_levels != teacher_levels:
        raise ValueError(
            'dense heads are compared location by location, but the '
            f'(stride, anchors per point) of their levels are {student_levels}'
            f' in the student and {teacher_levels} in the teacher; use '
            'neck_loss, or give both the same strides and anchors'
        )
    several = any(per_point > 1 for _, per_point in student_levels)
    if several and not _same_anchors(
        student.bbox_head.prior_generator, teacher.bbox_head.prior_generator
    ):
        raise ValueError(
            'dense heads are compared anchor by anchor, but the '
            'anchors of student and teacher have other sizes or ratios: give '
            'both the same bbox_head.anchor_generator'
        )


def _same_anchors(student_priors: Any, teacher_priors: Any) -> bool:
    student_anchors, teacher_anchors = (
        getattr(priors, 'base_anchors', ())
        for priors in (student_priors, teacher_priors)
    )
    return len(student_anchors) == len(teacher_anchors) and all(
        torch.allclose(a.cpu(), b.cpu(), atol=1e-3)
        for a, b in zip(student_anchors, teacher_anchors, strict=True)
    )


def common_maps(
    student: Sequence[Tensor], teacher: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """The part of each level (..., H, W) that both have.

    Where the images of one are padded further, the rest is cut off.
    """
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
