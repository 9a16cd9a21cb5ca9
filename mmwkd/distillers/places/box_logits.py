"""Compare class logits of the boxes that a student predicts.

Shapes: N images, T boxes of each, R = N * T, K categories, background
included and last.
"""

import torch
from torch import Tensor

from mmwkd.distillers.alignment import DetectorPair, check_roi_head
from mmwkd.distillers.capture import TrainingPass
from mmwkd.distillers.categories import category_logits
from mmwkd.distillers.places.base import ConfidentLogitPlace, Needs, Step
from mmwkd.distillers.predictions import Predictions, check_predictions, pick
from mmwkd.functional.checks import check_at_least
from mmwkd.losses import DistillationLoss


class BoxLogitPlace(ConfidentLogitPlace):
    """Class logits of the boxes that the student is most confident of.

    They are RoIs for the teacher's RoI head, whose first stage is trained on
    boxes as rough as a student's. Nothing flows into the boxes.

    Args:
        max_boxes: Boxes of each image that the teacher judges.
    """

    title = 'logit_loss of the boxes that a student predicts'
    needs = Needs(student_predictions=True, roi_logits=True)

    def __init__(
        self,
        loss: DistillationLoss,
        pair: DetectorPair,
        *,
        max_boxes: int = 128,
    ) -> None:
        super().__init__(loss, pair)
        check_at_least(1, max_boxes=max_boxes)
        self._max_boxes = max_boxes

    @classmethod
    def check(cls, pair: DetectorPair) -> None:
        """The teacher must classify RoIs that the student predicts."""
        check_roi_head('teacher', pair.teacher.detector)
        check_predictions('student', pair.student)

    def rois(self, student: TrainingPass) -> list[Tensor]:
        """The boxes, at most ``max_boxes`` an image."""
        predictions, index = self._chosen(student)
        boxes = predictions.clipped_boxes(index)  # (N, T, 4)
        image = torch.arange(len(index), device=index.device)
        images = image[:, None, None].expand(*index.shape, 1)
        return [torch.cat([images.to(boxes), boxes], dim=2).flatten(0, 1)]

    def logits(self, step: Step) -> tuple[Tensor, Tensor, Tensor | None]:
        """What both say of these boxes; without area they are none."""
        predictions, index = self._chosen(step.student)
        boxes = predictions.clipped_boxes(index).flatten(0, 1)
        same_box = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        if predictions.owned is not None:
            same_box &= pick(predictions.owned, index).flatten()
        (judged,) = step.teacher.judged[self.entry]
        teacher_logits = judged.logits
        assert teacher_logits is not None  # the place needs them
        student_logits = category_logits(
            predictions.rows(index).flatten(0, 1), self.num_classes
        )
        return student_logits, teacher_logits, same_box

    def _chosen(self, student: TrainingPass) -> tuple[Predictions, Tensor]:
        assert student.predictions is not None  # the place needs them
        index = student.predictions.most_confident(
            self.num_classes, self._max_boxes
        )
        return student.predictions, index
