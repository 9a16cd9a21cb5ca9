"""Distillation of boxes."""

from __future__ import annotations

from typing import Any

from mmdet.registry import MODELS
from torch import Tensor

from mmwkd.functional import smooth_l1_term
from mmwkd.functional.checks import check_positive
from mmwkd.losses.base import DistillationLoss, Reduction


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

    def forward(
        self,
        student_deltas: Tensor,
        teacher_deltas: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: Reduction | None = None,
    ) -> Tensor:
        """Compute the loss, of shape (), or (R,) for the reduction 'none'.

        Args:
            student_deltas: Box deltas of the student, of shape (R, 4).
            teacher_deltas: The teacher's, in the student's coding, (R, 4).
            weight: Weight of each RoI, of shape (R,).
            avg_factor: Divisor of the mean; the number of RoIs if None.
            reduction_override: Reduction to use instead of the configured.
        """
        terms = self.terms(student_deltas, teacher_deltas)
        return self._reduced_sum(terms, weight, avg_factor, reduction_override)
