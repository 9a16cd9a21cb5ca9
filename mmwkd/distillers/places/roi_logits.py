"""Compare the class logits of two-stage detectors on the same RoIs.

Shapes: R RoIs, K categories, background included and last.
"""

from mmwkd.distillers.alignment import DetectorPair, check_roi_heads
from mmwkd.distillers.capture import RoIStage
from mmwkd.distillers.chance import ChanceCheck
from mmwkd.distillers.places.base import (
    LogitPlace,
    LogitRows,
    Needs,
    Step,
    Terms,
    compare_rows,
)
from mmwkd.distillers.teacher import TeacherStage
from mmwkd.losses import DistillationLoss


class RoILogitPlace(LogitPlace):
    """Class logits of the RoIs that the student samples, stage by stage."""

    title = 'logit_loss between two-stage detectors'
    needs = Needs(rois=True, roi_logits=True)
    labels_rois = True

    def __init__(self, loss: DistillationLoss, pair: DetectorPair) -> None:
        super().__init__(loss, pair)
        self._check_chance = ChanceCheck()

    @classmethod
    def check(cls, pair: DetectorPair) -> None:
        """Both detectors must classify given RoIs."""
        check_roi_heads(pair)

    def compare(self, step: Step) -> list[Terms]:
        """One part for each stage of the student."""
        stages = [
            self._rows(*stages, step.labelled)
            for stages in zip(
                step.student.stages, step.teacher.stages, strict=True
            )
        ]
        if step.labelled:
            self._check_chance(stages[-1].teacher_logits, stages[-1].target)
        return [
            compare_rows(self.loss, rows, rows.weights.sum())
            for rows in stages
        ]

    def rows(self, step: Step) -> LogitRows:
        """What is compared; of several stages, in the last."""
        return self._rows(
            step.student.stages[-1], step.teacher.stages[-1], step.labelled
        )

    def _rows(
        self, student: RoIStage, teacher: TeacherStage, labelled: bool
    ) -> LogitRows:
        assert teacher.logits is not None  # the place needs them
        # without annotations, the target is what the teacher takes a RoI for
        target = student.labels if labelled else teacher.logits.argmax(dim=1)
        return LogitRows(
            student.logits,
            teacher.logits,
            target,
            self.loss.roi_weights(
                target, student.label_weights, self.num_classes
            ),
        )
