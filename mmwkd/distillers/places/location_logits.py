"""Compare the class logits of dense heads at the same locations.

Shapes: N images, R locations, K categories, background included and last.
"""

from __future__ import annotations

from mmdet.utils import reduce_mean

from mmwkd.distillers.alignment import (
    DetectorPair,
    check_dense_heads,
    check_same_size,
    has_roi_stages,
)
from mmwkd.distillers.categories import classifier_rows
from mmwkd.distillers.locations import confident_locations
from mmwkd.distillers.places.base import (
    LogitPlace,
    LogitRows,
    Needs,
    Step,
    Terms,
    bind_classes,
    compare_rows,
)
from mmwkd.functional.checks import check_at_least
from mmwkd.losses import DistillationLoss


class LocationLogitPlace(LogitPlace):
    """Class logits where the teacher is most confident of an object.

    Args:
        loss: Loss to compare with.
        pair: The detectors.
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
        check_dense_heads(pair)
        head = pair.teacher.detector.bbox_head
        self._num_classes = head.num_classes
        bind_classes(
            loss, pair.teacher, head.num_classes, classifier_rows(head)
        )

    @classmethod
    def suits(cls, pair: DetectorPair) -> bool:
        """Where neither detector classifies RoIs."""
        return not (
            has_roi_stages(pair.student)
            or has_roi_stages(pair.teacher.detector)
        )

    def compare(self, step: Step) -> list[Terms]:
        """One part for all levels together."""
        rows = self.rows(step)
        # ranks see more and less; heads average over all of them as well
        total = reduce_mean(rows.weights.sum())
        return [compare_rows(self.loss, rows, total)]

    def rows(self, step: Step) -> LogitRows:
        """What is compared: at most ``max_locations`` rows an image."""
        locations = confident_locations(
            step.student.dense_scores,
            step.teacher.dense_scores,
            self._num_classes,
            self._max_locations,
        )
        return LogitRows(
            locations.student_logits,
            locations.teacher_logits,
            locations.target,
            self.loss.roi_weights(
                locations.target, locations.weights, self._num_classes
            ),
        )
