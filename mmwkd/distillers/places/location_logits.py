"""Compare the class logits of dense heads at the same locations.

Shapes: N images, R locations, A anchors per point, (H, W) a level's points, C
foreground categories, K = C + 1 with background last, S = C or K.
"""

from collections.abc import Sequence

from torch import Tensor

from mmwkd.distillers.alignment import (
    DetectorPair,
    check_dense_heads,
    check_same_size,
)
from mmwkd.distillers.categories import category_logits
from mmwkd.distillers.places.base import ConfidentLogitPlace, Needs, Step
from mmwkd.distillers.predictions import most_confident, rows_of
from mmwkd.functional.checks import check_at_least
from mmwkd.losses import DistillationLoss


class LocationLogitPlace(ConfidentLogitPlace):
    """Class logits where the teacher is most confident of an object.

    Args:
        max_locations: Locations of each image that are compared.
    """

    title = 'logit_loss between dense detectors'
    needs = Needs(dense_scores=True)

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
        check_same_size(pair, self.title)

    @classmethod
    def check(cls, pair: DetectorPair) -> None:
        """Both dense heads must score the same locations."""
        check_dense_heads(pair)

    def logits(self, step: Step) -> tuple[Tensor, Tensor, None]:
        """At most ``max_locations`` rows an image."""
        logits = confident_locations(
            step.student.dense_scores,
            step.teacher.dense_scores,
            self.num_classes,
            self._max_locations,
        )
        return *logits, None


def confident_locations(
    student_scores: Sequence[Tensor],
    teacher_scores: Sequence[Tensor],
    num_classes: int,
    max_locations: int,
) -> tuple[Tensor, Tensor]:
    """Logits (R, K) of student and teacher where the teacher sees an object.

    Nearly all locations of a dense head are empty, and there both detectors
    are soon certain. Only the ``max_locations`` of each image with the most
    confident foreground score of the teacher are copied out of the maps,
    without waiting for the device. Where the images of one are padded
    further, the rest is cut off.
    """
    student_maps, teacher_maps = _common(student_scores, teacher_scores)
    index = most_confident(teacher_maps, num_classes, max_locations)
    student_logits, teacher_logits = (
        category_logits(rows_of(maps, index).flatten(0, 1), num_classes)
        for maps in (student_maps, teacher_maps)
    )
    return student_logits, teacher_logits


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
