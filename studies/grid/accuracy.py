"""Box AP, and how much of a teacher's lead a student has closed."""

from __future__ import annotations

from typing import NamedTuple


class Accuracy(NamedTuple):
    """COCO box AP in percent; None for sizes that the dataset lacks."""

    ap: float
    ap50: float
    ap75: float
    ap_small: float | None = None
    ap_medium: float | None = None
    ap_large: float | None = None


def gap_closed(
    *, teacher: float, baseline: float, distilled: float
) -> float | None:
    """The part of the teacher's lead that distillation gave to the student.

    Args:
        teacher: AP of the teacher.
        baseline: AP of the student trained alone.
        distilled: AP of the student trained with the teacher.

    Returns:
        ``(distilled - baseline) / (teacher - baseline)``: 0 for no gain, 1 for
        a student as good as its teacher, negative for a loss. None if the
        teacher is not better than the baseline, for then there is no gap.
    """
    if teacher <= baseline:
        return None
    return (distilled - baseline) / (teacher - baseline)
