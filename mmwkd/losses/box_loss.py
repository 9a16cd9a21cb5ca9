"""Distillation of boxes."""

from typing import Any

from mmdet.registry import MODELS
from torch import Tensor

from mmwkd.functional import smooth_l1_term
from mmwkd.functional.checks import check_positive
from mmwkd.losses.base import DistillationLoss


@MODELS.register_module()
class BoxDistillationLoss(DistillationLoss):
    """Pull the student's boxes to the teacher's.

    One element is one RoI, or one prediction of a teacher that shares none
    with its student, see :func:`mmwkd.functional.smooth_l1_term`. Of RoIs, the
    distiller expresses the teacher's boxes in the student's coding, so the
    coders may differ, and either head may be class-agnostic. It averages over
    all sampled RoIs, as the head's own box loss does.

    Args:
        beta: Difference at which the loss turns from quadratic to linear, in
            units of the student's box deltas.
        **kwargs: Options of every loss, see :class:`DistillationLoss`.
    """

    method = 'l1'
    compares = 'boxes'
    term_names = ('delta',)

    def __init__(self, *, beta: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_positive(beta=beta)
        self.beta = beta

    def terms(
        self, student_deltas: Tensor, teacher_deltas: Tensor
    ) -> dict[str, Tensor]:
        """Distance of each RoI's deltas (R, 4), of shape (R,)."""
        return {
            'delta': smooth_l1_term(
                student_deltas, teacher_deltas, beta=self.beta
            )
        }
