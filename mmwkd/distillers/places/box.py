"""Compare boxes: of the same foreground RoIs, or of matched predictions.

Shapes: N images, R RoIs or matches, C foreground categories.
"""

from __future__ import annotations

import torch
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmdet.utils import reduce_mean

from mmwkd.distillers.alignment import (
    DetectorPair,
    check_num_classes,
    check_roi_heads,
    is_refused,
)
from mmwkd.distillers.boxes import deltas_of_label, offsets, recode
from mmwkd.distillers.capture import RoIStage, box_heads
from mmwkd.distillers.matching import check_matching
from mmwkd.distillers.places.base import (
    Needs,
    Place,
    Step,
    Terms,
    object_probability,
    weighted_means,
)
from mmwkd.distillers.predictions import pick, prediction_head
from mmwkd.distillers.teacher import TeacherStage, matching_stage
from mmwkd.functional.checks import check_at_least
from mmwkd.losses import DistillationLoss


class _BoxPlace(Place):
    entry = 'box'
    compares = 'boxes'
    compares_classes = True
    share = 0.2

    def __init__(self, loss: DistillationLoss, pair: DetectorPair) -> None:
        super().__init__(loss, pair)
        if loss.background_weight != 1:
            raise ValueError(
                'box_loss is of foreground RoIs, so it cannot take '
                'background_weight'
            )


class RoIBoxPlace(_BoxPlace):
    """Boxes of the foreground RoIs that the student samples, by stage.

    Args:
        loss: Loss to compare with.
        pair: The detectors.
    """

    title = 'box_loss'
    needs = Needs(rois=True, roi_logits=True)

    def __init__(self, loss: DistillationLoss, pair: DetectorPair) -> None:
        super().__init__(loss, pair)
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

    @classmethod
    def suits(cls, pair: DetectorPair) -> bool:
        """Where both detectors have boxes of given RoIs."""
        return not is_refused(check_roi_heads, pair)

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


class MatchedBoxPlace(_BoxPlace):
    """Boxes of the teacher's predictions and the student's closest.

    The matches are those of ``logit_loss``, with the same weights. The
    student's box is coded by the teacher's, which is thereby all zeros.

    Args:
        loss: Loss to compare with.
        pair: The detectors.
        max_matches: Predictions of the teacher for each image.
    """

    title = 'box_loss of matched predictions'
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
        check_matching(pair, self.title)
        student_head = prediction_head(pair.student)
        teacher_head = prediction_head(pair.teacher.detector)
        for role, head in (
            ('student', student_head),
            ('teacher', teacher_head),
        ):
            if isinstance(head, BBoxHead):
                _coders(role, (head,))
        self._num_classes = teacher_head.num_classes

    def compare(self, step: Step) -> list[Terms]:
        """One part for all matches together."""
        met = step.matches(self._num_classes, self._max_matches)
        deltas = offsets(
            pick(met.student.boxes, met.student_index).flatten(0, 1),
            pick(met.teacher.boxes, met.teacher_index).flatten(0, 1),
        )
        terms = self.loss.terms(deltas, torch.zeros_like(deltas))
        weights = object_probability(met.teacher_logits) * met.same_box
        total = reduce_mean(weights.sum())
        return [weighted_means(self.loss, terms, weights.flatten(), total)]


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
