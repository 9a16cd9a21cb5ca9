"""Compare the class logits of dense heads at the same locations.

Shapes: N images, R locations, K categories, background included and last.
"""

from __future__ import annotations

from torch import Tensor

from mmwkd.distillers.alignment import (
    DetectorPair,
    check_dense_heads,
    check_same_size,
    is_refused,
)
from mmwkd.distillers.locations import confident_locations
from mmwkd.distillers.places.base import (
    ConfidentLogitPlace,
    Needs,
    Step,
    bind_classes,
)
from mmwkd.functional.checks import check_at_least
from mmwkd.losses import DistillationLoss


class LocationLogitPlace(ConfidentLogitPlace):
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
        self.num_classes = head.num_classes
        bind_classes(loss, pair.teacher, head)

    @classmethod
    def suits(cls, pair: DetectorPair) -> bool:
        """Where both dense heads score the same locations."""
        return not is_refused(check_dense_heads, pair)

    def logits(self, step: Step) -> tuple[Tensor, Tensor, None]:
        """At most ``max_locations`` rows an image."""
        logits = confident_locations(
            step.student.dense_scores,
            step.teacher.dense_scores,
            self.num_classes,
            self._max_locations,
        )
        return *logits, None
