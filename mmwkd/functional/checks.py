"""Checks that the functions and the modules share.

Shapes: R RoIs, K categories, background included; N maps, D channels, (H, W)
positions.
"""

import math
from numbers import Integral, Real

import torch
from torch import Tensor


def check_positive(**options: float) -> None:
    """Refuse an option that is 0, negative or not a number."""
    for name, value in options.items():
        _check_number(name, value)
        if not value > 0:
            raise ValueError(f'{name} must be positive, got {value}')


def check_not_negative(**options: float) -> None:
    """Refuse an option that is negative or not a number."""
    for name, value in options.items():
        _check_number(name, value)
        if not value >= 0:
            raise ValueError(f'{name} must not be negative, got {value}')


def check_at_least(minimum: int, **options: int) -> None:
    """Refuse a count that is below a minimum or not a whole number."""
    for name, value in options.items():
        if not isinstance(value, Integral):
            raise ValueError(f'{name} must be a whole number, got {value!r}')
        if not value >= minimum:
            raise ValueError(f'{name} must be at least {minimum}, got {value}')


def _check_number(name: str, value: object) -> None:
    # YAML reads 1e-3 as a text
    if not isinstance(value, Real) or value == math.inf:
        raise ValueError(f'{name} must be a finite number, got {value!r}')


def check_floating_point(**tensors: Tensor) -> None:
    """Refuse integers, which have no gradient and would be rounded."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise ValueError(
                f'{name} must be of a floating-point type, got {tensor.dtype}'
            )


def check_logits(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor | None = None,
) -> None:
    """Refuse logits, or targets, that are not (R, K), and (R,) of integers."""
    if student_logits.dim() != 2 or (
        student_logits.shape != teacher_logits.shape
    ):
        raise ValueError(
            'student_logits and teacher_logits must share one shape (R, K), '
            f'got {tuple(student_logits.shape)} and '
            f'{tuple(teacher_logits.shape)}'
        )
    check_floating_point(
        student_logits=student_logits, teacher_logits=teacher_logits
    )
    if student_logits.shape[1] < 2:
        raise ValueError(
            'at least 2 categories are needed, background '
            f'included, got {student_logits.shape[1]}'
        )
    if target is not None and target.dtype not in (torch.int32, torch.int64):
        raise ValueError(
            'target must hold category indices as int64 or int32, got '
            f'{target.dtype}'
        )
    if target is not None and target.shape != student_logits.shape[:1]:
        raise ValueError(
            f'target must have shape ({student_logits.shape[0]},), one '
            f'category for each RoI, got {tuple(target.shape)}'
        )


def check_feats(student_feats: Tensor, teacher_feats: Tensor) -> None:
    """Refuse maps that are not (N, D, H, W) of one shape, or are empty."""
    if student_feats.dim() != 4 or student_feats.shape != teacher_feats.shape:
        raise ValueError(
            'student_feats and teacher_feats must share one shape '
            f'(N, D, H, W), got {tuple(student_feats.shape)} and '
            f'{tuple(teacher_feats.shape)}'
        )
    check_floating_point(
        student_feats=student_feats, teacher_feats=teacher_feats
    )
    if 0 in student_feats.shape[1:]:
        raise ValueError(
            'feature maps must not be empty, got shape '
            f'{tuple(student_feats.shape)}'
        )
