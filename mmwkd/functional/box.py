"""Distance between box predictions.

Shapes: R RoIs.
"""

import torch.nn.functional as F
from torch import Tensor

from mmwkd.functional.checks import check_floating_point, check_positive
from mmwkd.functional.precision import full_precision


@full_precision
def smooth_l1_term(
    student_deltas: Tensor, teacher_deltas: Tensor, *, beta: float = 1.0
) -> Tensor:
    r"""Smooth L1 distance between box deltas, summed over coordinates.

    .. math:: \sum_i \begin{cases} d_i^2 / (2 \beta) & |d_i| < \beta \\
              |d_i| - \beta / 2 & \text{otherwise} \end{cases}

    with d the difference of the deltas. The teacher is a constant.

    Args:
        student_deltas: Deltas of the student, of shape (R, 4).
        teacher_deltas: Deltas of the teacher, of the same shape.
        beta: Difference at which the loss turns from quadratic to linear.

    Returns:
        Distance of each RoI, of shape (R,).
    """
    if student_deltas.shape != teacher_deltas.shape:
        raise ValueError(
            'student and teacher deltas must have one shape, got '
            f'{tuple(student_deltas.shape)} and {tuple(teacher_deltas.shape)}'
        )
    check_floating_point(
        student_deltas=student_deltas, teacher_deltas=teacher_deltas
    )
    check_positive(beta=beta)
    distance = F.smooth_l1_loss(
        student_deltas,
        teacher_deltas.detach().to(student_deltas),
        beta=beta,
        reduction='none',
    )
    return distance.sum(dim=1)
