"""Compare the boxes of two-stage detectors on the same foreground RoIs.

Shapes: R RoIs, C foreground categories.
"""

from __future__ import annotations

from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder

from mmwkd.distillers.alignment import (
    DetectorPair,
    check_num_classes,
    check_roi_heads,
)
from mmwkd.distillers.boxes import deltas_of_label, recode
from mmwkd.distillers.capture import RoIStage, box_heads
from mmwkd.distillers.places.base import (
    Needs,
    Place,
    Step,
    Terms,
    weighted_means,
)
from mmwkd.distillers.teacher import TeacherStage, matching_stage
from mmwkd.losses import DistillationLoss


class BoxPlace(Place):
    """Boxes of the foreground RoIs that the student samples, by stage.

    Args:
        loss: Loss to compare with.
        pair: The detectors.
    """

    entry = 'box'
    compares = 'boxes'
    title = 'box_loss'
    needs = Needs(rois=True, roi_logits=True)
    compares_classes = True

    def __init__(self, loss: DistillationLoss, pair: DetectorPair) -> None:
        super().__init__(loss, pair)
        if loss.background_weight != 1:
            raise ValueError(
                'box_loss is of foreground RoIs, so it cannot take '
                'background_weight'
            )
        check_roi_heads(pair)
        student_heads = box_heads(pair.student)
        teacher = pair.teacher.detector
        teacher_heads = box_heads(teacher)
        check_num_classes(
            'roi_head.bbox_head', student_heads[0], teacher_heads[0]
        )
        self._background = teacher_heads[0].num_classes
        student_coders = _coders('student', student_heads)
        teacher_coders = _coders('teacher', teacher_heads)
        self._coders = [  # of both, for each stage of the student
            (coder, teacher_coders[matching_stage(teacher, index)])
            for index, coder in enumerate(student_coders)
        ]

    def compare(self, step: Step) -> list[Terms]:
        """One part for each stage of the student."""
        return [
            self._compare_stage(*coders, student, teacher)
            for coders, student, teacher in zip(
                self._coders,
                step.student.stages,
                step.teacher.stages,
                strict=True,
            )
        ]

    def _compare_stage(
        self,
        student_coder: DeltaXYWHBBoxCoder,
        teacher_coder: DeltaXYWHBBoxCoder,
        student: RoIStage,
        teacher: TeacherStage,
    ) -> Terms:
        recoded = recode(
            deltas_of_label(teacher.deltas, student.labels),
            student.rois,
            teacher_coder,
            student_coder,
        )
        # a box of background is nobody's target, and may have no width to be
        # coded by; it counts in the mean, as in the head's own box loss
        foreground = student.labels < self._background
        terms = self.loss.terms(
            deltas_of_label(student.deltas, student.labels),
            recoded.where(foreground[:, None], 0),
        )
        weights = student.label_weights * foreground
        total = student.label_weights.sum()
        return weighted_means(self.loss, terms, weights, total)


def _coders(role: str, heads: tuple) -> list[DeltaXYWHBBoxCoder]:
    """Coders of box heads; refuse those that do not predict deltas."""
    coders = []
    for head in heads:
        coder = getattr(head, 'bbox_coder', None)
        if not head.with_reg or not isinstance(coder, DeltaXYWHBBoxCoder):
            raise ValueError(
                'box_loss compares deltas of RoIs, but the box branch of the '
                f"{role}'s {type(head).__name__} predicts "
                f'{type(coder).__name__ if head.with_reg else "nothing"}: '
                'leave box_loss out'
            )
        coders.append(coder)
    return coders
