"""Compare boxes of the same RoIs, or of the same locations.

Shapes: N images, R RoIs or locations, A anchors per point, (H, W) a level's
points, C foreground categories.
"""

import math

import torch
from mmdet.models.detectors import TwoStageDetector
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmdet.utils import reduce_mean
from torch import Tensor

from mmwkd.distillers.alignment import (
    DetectorPair,
    check_roi_heads,
    common_classes,
)
from mmwkd.distillers.capture import RoIStage, box_heads
from mmwkd.distillers.categories import category_logits
from mmwkd.distillers.dense_boxes import check_dense_boxes
from mmwkd.distillers.places.base import (
    Needs,
    Place,
    Step,
    Terms,
    object_probability,
    weighted_means,
)
from mmwkd.distillers.places.location_logits import (
    LocationPlace,
    common_maps,
)
from mmwkd.distillers.predictions import (
    Predictions,
    deltas_of_label,
    rows_of,
)
from mmwkd.distillers.teacher import TeacherStage, matching_stage
from mmwkd.losses import DistillationLoss

# how far mmdet's coder stretches a RoI at most
_WH_RATIO_CLIP = 16 / 1000


class _BoxPlace(Place):
    entry = 'box'
    compares = 'boxes'
    compares_classes = True
    share = 0.2

    def __init__(self, loss: DistillationLoss, pair: DetectorPair) -> None:
        super().__init__(loss, pair)
        self._num_classes = common_classes(pair)


class RoIBoxPlace(_BoxPlace):
    """Boxes of the foreground RoIs that the student samples, by stage."""

    title = 'box_loss'
    needs = Needs(rois=True, roi_logits=True)

    def __init__(self, loss: DistillationLoss, pair: DetectorPair) -> None:
        super().__init__(loss, pair)
        teacher = pair.teacher.detector
        teacher_coders = _coders('teacher', box_heads(teacher))
        self._coders = [  # of both, for each stage of the student
            (coder, teacher_coders[matching_stage(teacher, index)])
            for index, coder in enumerate(
                _coders('student', box_heads(pair.student))
            )
        ]

    @classmethod
    def check(cls, pair: DetectorPair) -> None:
        """Both detectors must have boxes of given RoIs."""
        check_roi_heads(pair)

    @classmethod
    def suits(cls, pair: DetectorPair) -> bool:
        """Whether both have stages; what is amiss is said when it is built."""
        detectors = pair.student, pair.teacher.detector
        return all(isinstance(each, TwoStageDetector) for each in detectors)

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
            teacher_coder,
            student_coder,
        )
        # a box of background is nobody's target, and may have no width to be
        # coded by; it counts in the mean, as in the head's own box loss
        foreground = student.labels < self._num_classes
        terms = self.loss.terms(
            deltas_of_label(student.deltas, student.labels),
            recoded.where(foreground[:, None], 0),
        )
        weights = student.label_weights * foreground
        total = student.label_weights.sum()
        return weighted_means(self.loss, terms, weights, total)


class LocationBoxPlace(LocationPlace, _BoxPlace):
    """Boxes of the locations where the teacher is most confident.

    The student's box is coded by the teacher's, which is thereby all zeros,
    and counts by the probability that the teacher gives to any object.
    """

    title = 'box_loss between dense detectors'
    needs = Needs(student_predictions=True, teacher_predictions=True)
    share = 0.6

    @classmethod
    def check(cls, pair: DetectorPair) -> None:
        """Both must predict boxes at the same locations."""
        try:
            for detector in (pair.student, pair.teacher.detector):
                check_dense_boxes(getattr(detector, 'bbox_head', None))
        except ValueError as error:
            raise ValueError(
                'box_loss compares boxes of RoIs that both detectors have, or '
                'of dense heads that share their locations: leave it out'
            ) from error
        super().check(pair)

    def compare(self, step: Step) -> list[Terms]:
        """One part for all locations together."""
        student, teacher = step.predictions
        _, scores = common_maps(student.scores, teacher.scores)
        index, inside = self.locations(scores, self._num_classes, step)
        logits = category_logits(rows_of(scores, index), self._num_classes)
        boxes, references = (
            rows_of(maps, index).flatten(0, 1)
            for maps in common_maps(_box_maps(student), _box_maps(teacher))
        )
        weights = object_probability(logits)
        if inside is not None:
            weights = weights * inside
        deltas = offsets(boxes, references)
        terms = self.loss.terms(deltas, torch.zeros_like(deltas))
        total = reduce_mean(weights.sum())
        return [weighted_means(self.loss, terms, weights.flatten(), total)]


def _box_maps(predictions: Predictions) -> list[Tensor]:
    """Boxes of each level, of shape (N, A, 4, H, W), as scores are."""
    sizes = [
        (height, width, anchors)
        for _, anchors, _, height, width in (
            scores.shape for scores in predictions.scores
        )
    ]
    levels = predictions.boxes.split([math.prod(size) for size in sizes], 1)
    return [
        boxes.unflatten(1, size).permute(0, 3, 4, 1, 2)
        for boxes, size in zip(levels, sizes, strict=True)
    ]


def _coders(role: str, heads: tuple) -> list[DeltaXYWHBBoxCoder]:
    """Coders of box heads; refuse those that do not predict deltas."""
    coders = []
    for head in heads:
        coder = getattr(head, 'bbox_coder', None)
        if not head.with_reg or type(coder) is not DeltaXYWHBBoxCoder:
            raise ValueError(
                'box_loss compares deltas of RoIs, but the box branch of the '
                f"{role}'s {type(head).__name__} predicts "
                f'{type(coder).__name__ if head.with_reg else "nothing"}: '
                'leave box_loss out'
            )
        coders.append(coder)
    return coders


def recode(
    deltas: Tensor,
    source: DeltaXYWHBBoxCoder,
    target: DeltaXYWHBBoxCoder,
) -> Tensor:
    """Express deltas (R, 4) of RoIs in the coding of another head.

    The coders would copy their means and scales from the host in every step.
    """
    largest = abs(math.log(_WH_RATIO_CLIP))
    columns = []
    for index, column in enumerate(deltas.float().unbind(dim=1)):
        value = column * source.stds[index] + source.means[index]
        if index >= 2:  # what decoding would clip: log of width and height
            value = value.clamp(-largest, largest)
        columns.append((value - target.means[index]) / target.stds[index])
    return torch.stack(columns, dim=1)


def offsets(boxes: Tensor, references: Tensor) -> Tensor:
    """Code boxes by others, in the units of most box heads.

    Args:
        boxes: Corners, of shape (R, 4).
        references: Corners of the boxes that they are coded by, (R, 4).

    Returns:
        Offsets of the centre in tenths of the reference's size, and the log
        of the ratio of sizes in fifths, of shape (R, 4).
    """
    (centre, size), (origin, unit) = (
        # the clamp keeps boxes without area, which match none, finite
        ((x[:, :2] + x[:, 2:]) / 2, (x[:, 2:] - x[:, :2]).clamp(min=1e-3))
        for x in (boxes, references)
    )
    return torch.cat(
        [(centre - origin) / unit / 0.1, (size / unit).log() / 0.2], dim=1
    )
