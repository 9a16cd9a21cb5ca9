"""Compare class logits of predictions that are about the same box.

Shapes: N images, T predictions of the teacher, R = N * T, K categories,
background included and last.
"""

from torch import Tensor

from mmwkd.distillers.alignment import DetectorPair, check_same_size
from mmwkd.distillers.categories import category_logits
from mmwkd.distillers.matching import matches
from mmwkd.distillers.places.base import ConfidentLogitPlace, Needs, Step
from mmwkd.distillers.predictions import check_predictions
from mmwkd.functional.checks import check_at_least
from mmwkd.losses import DistillationLoss


class MatchedLogitPlace(ConfidentLogitPlace):
    """Class logits of the teacher's predictions and the student's closest.

    For a teacher that cannot judge given boxes. Each of its confident
    predictions meets the student's one that overlaps it most and agrees with
    it most; where none overlaps it by half, it teaches nothing.

    Args:
        max_matches: Predictions of the teacher for each image.
    """

    title = 'logit_loss of matched predictions'
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

    @classmethod
    def check(cls, pair: DetectorPair) -> None:
        """Predictions of both must be known, of the same pixels."""
        check_same_size(pair, cls.title)
        check_predictions('student', pair.student)
        teacher = pair.teacher.detector
        check_predictions('teacher', teacher)
        if not getattr(teacher, 'with_rpn', True):
            raise ValueError(
                f'the teacher is a {type(teacher).__name__} without an RPN, '
                'which predicts no boxes of its own; use neck_loss'
            )

    def logits(self, step: Step) -> tuple[Tensor, Tensor, Tensor]:
        """At most ``max_matches`` rows an image."""
        student, teacher = step.predictions
        met = matches(student, teacher, self.num_classes, self._max_matches)
        student_logits = category_logits(
            student.rows(met.student_index), self.num_classes
        )
        return (
            student_logits.flatten(0, 1),
            met.teacher_logits.flatten(0, 1),
            met.same_box.flatten(),
        )
