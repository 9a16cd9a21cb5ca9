"""Check at build time that a student and a teacher can be compared.

Shapes: L levels, D channels, K categories, background included and last.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from mmdet.models.detectors import BaseDetector, TwoStageDetector
from mmdet.models.roi_heads import BaseRoIHead
from torch import Tensor, nn

from mmwkd.distillers.capture import box_heads
from mmwkd.distillers.categories import (
    check_dense_head,
    dense_scores,
    scores_are_readable,
)
from mmwkd.distillers.teacher import roi_maps

# pixels, a multiple of every stride in use; deformable convolutions of stride
# 128 and the last layers of SSD cannot do with fewer
_PROBE_SIZE = 384


@dataclass(frozen=True)
class FeatureShapes:
    """Shapes of what a detector computes, found by running it once."""

    strides: tuple[int, ...]  # L, of the neck's levels in input pixels
    channels: tuple[int, ...]  # L
    roi_maps: tuple[tuple[int, ...], ...]  # (D, h, w) of each RoI stage


@dataclass(frozen=True)
class LevelPair:
    """A level of the student's neck and the teacher's at the same stride."""

    student: int
    teacher: int


_T = TypeVar('_T')


def probe_shapes(detector: BaseDetector, *, with_rois: bool) -> FeatureShapes:
    """Run a detector on one blank image to learn the shapes of its features.

    Args:
        detector: Detector to run, left in the modes it was found in.
        with_rois: Whether the RoI extractors are run as well.

    Returns:
        Shapes of its features.
    """

    def shapes(
        detector: BaseDetector, image: Tensor
    ) -> tuple[Sequence[Tensor], tuple[tuple[int, ...], ...]]:
        feats = detector.extract_feat(image)
        if not with_rois:
            return feats, ()
        roi = image.new_tensor([[0, 0, 0, _PROBE_SIZE, _PROBE_SIZE]])
        return feats, tuple(
            tuple(roi_maps(detector, index, feats, roi).shape[1:])
            for index in range(len(box_heads(detector)))
        )

    feats, maps = _probe(detector, shapes)
    return FeatureShapes(
        strides=tuple(round(_PROBE_SIZE / feat.shape[-1]) for feat in feats),
        channels=tuple(feat.shape[1] for feat in feats),
        roi_maps=maps,
    )


@torch.no_grad()
def _probe(
    detector: BaseDetector, run: Callable[[BaseDetector, Tensor], _T]
) -> _T:
    """Run a detector on one blank image; it keeps the modes it was in."""
    modes = [(module, module.training) for module in detector.modules()]
    parameter = next(detector.parameters())
    image = parameter.new_zeros(1, 3, _PROBE_SIZE, _PROBE_SIZE)
    detector.eval()
    try:
        return run(detector, image)
    except RuntimeError as error:
        raise ValueError(
            f'the {type(detector).__name__} could not be run on a blank image '
            f'of {_PROBE_SIZE} pixels to learn the shapes of its features: '
            f'{error}'
        ) from error
    finally:
        for module, mode in modes:
            module.training = mode


def pair_levels(
    student: FeatureShapes,
    teacher: FeatureShapes,
    levels: Sequence[int] | None,
) -> tuple[LevelPair, ...]:
    """Pair the levels of two necks by their strides.

    Args:
        student: Shapes of the student.
        teacher: Shapes of the teacher.
        levels: Levels of the student to pair; None for all that both have.

    Returns:
        The pairs, in the order of ``levels``.

    Raises:
        ValueError: If a level does not exist in the student, or its stride
            not in the teacher, with both lists of strides.
    """
    strides = (
        f'student strides {list(student.strides)}, teacher strides '
        f'{list(teacher.strides)}'
    )
    if levels is None:
        levels = [
            level
            for level, stride in enumerate(student.strides)
            if stride in teacher.strides
        ]
        if not levels:
            raise ValueError(f'the necks have no level in common: {strides}')
    if not levels:
        raise ValueError('neck_loss.levels is empty; leave it out for all')
    pairs = []
    for level in levels:
        if not 0 <= level < len(student.strides):
            raise ValueError(
                f"neck_loss asks for level {level}, but the student's neck "
                f'has the levels 0 to {len(student.strides) - 1}'
            )
        if student.strides[level] not in teacher.strides:
            raise ValueError(
                f'neck_loss asks for level {level} of stride '
                f'{student.strides[level]}, which the teacher does not '
                f'have: {strides}'
            )
        pairs.append(
            LevelPair(level, teacher.strides.index(student.strides[level]))
        )
    return tuple(pairs)


def has_roi_stages(detector: BaseDetector) -> bool:
    """Whether a detector classifies RoIs."""
    return (
        isinstance(detector, TwoStageDetector)
        and detector.with_roi_head
        and detector.roi_head.with_bbox
    )


def check_dense_heads(student: BaseDetector, teacher: BaseDetector) -> None:
    """Refuse dense heads that do not score the same locations.

    Args:
        student: The student detector.
        teacher: The teacher detector.

    Raises:
        ValueError: If scores of one cannot be read, or their classes,
            points or anchors differ, with both values.
    """
    for detector in (student, teacher):
        check_dense_head(getattr(detector, 'bbox_head', None))
    _check_num_classes('bbox_head', student.bbox_head, teacher.bbox_head)
    mine, theirs = (
        [
            (_PROBE_SIZE // scores.shape[-1], scores.shape[1])
            for scores in _probe(detector, _dense_scores)
        ]
        for detector in (student, teacher)
    )
    if mine != theirs:
        raise ValueError(
            'logit_loss compares dense heads location by location, but the '
            f'(stride, anchors per point) of their levels are {mine} in the '
            f'student and {theirs} in the teacher; use neck_loss, or give '
            'both the same strides and anchors'
        )
    several = any(per_point > 1 for _, per_point in mine)
    if several and not _same_anchors(
        *(
            getattr(detector.bbox_head.prior_generator, 'base_anchors', None)
            for detector in (student, teacher)
        )
    ):
        raise ValueError(
            'logit_loss compares dense heads anchor by anchor, but the '
            'anchors of student and teacher have other sizes or ratios: give '
            'both the same bbox_head.anchor_generator'
        )


def _dense_scores(detector: BaseDetector, image: Tensor) -> list[Tensor]:
    head = detector.bbox_head
    return dense_scores(head, head(detector.extract_feat(image)))


def _same_anchors(
    mine: Sequence[Tensor] | None, theirs: Sequence[Tensor] | None
) -> bool:
    if mine is None or theirs is None:
        return mine is theirs
    return all(
        torch.allclose(a.cpu(), b.cpu(), atol=1e-3)
        for a, b in zip(mine, theirs, strict=True)
    )


def check_roi_heads(student: BaseDetector, teacher: BaseDetector) -> None:
    """Refuse RoI heads whose outputs cannot be compared row by row.

    Args:
        student: The student detector.
        teacher: The teacher detector.

    Raises:
        ValueError: If one is not two-stage, has no softmax classifier, or
            their classes differ.
    """
    for role, detector in (('student', student), ('teacher', teacher)):
        check_roi_head(role, detector)
    _check_num_classes(
        'roi_head.bbox_head', box_heads(student)[0], box_heads(teacher)[0]
    )


def _check_num_classes(path: str, mine: nn.Module, theirs: nn.Module) -> None:
    if mine.num_classes != theirs.num_classes:
        raise ValueError(
            f'the student has {mine.num_classes} classes, the teacher '
            f'{theirs.num_classes}: set {path}.num_classes of both to the '
            'same dataset'
        )


def check_roi_head(role: str, detector: BaseDetector) -> None:
    """Refuse detectors without softmax logits for given RoIs.

    Args:
        role: 'student' or 'teacher', for messages.
        detector: The detector.

    Raises:
        ValueError: If it is not two-stage, has no softmax classifier, or
            its box heads need what cannot be computed for given RoIs.
    """
    if not has_roi_stages(detector):
        raise ValueError(
            f'RoIs are compared between two-stage detectors with a box head, '
            f'but the {role} is a {type(detector).__name__}; logit_loss also '
            'works between two dense detectors, neck_loss between all'
        )
    _check_inputs_of_heads(role, detector.roi_head)
    for head in box_heads(detector):
        if not scores_are_readable(head.loss_cls):
            raise ValueError(
                f"the {role}'s box head is trained with "
                f'{type(head.loss_cls).__name__}, not with a softmax over '
                'categories and background; logit_loss and roi_loss work for '
                'CrossEntropyLoss(use_sigmoid=False), SeesawLoss, and losses '
                'registered with mmwkd.distillers.roi_logits.register'
            )


def _check_inputs_of_heads(role: str, roi_head: BaseRoIHead) -> None:
    """Refuse box heads that need what given RoIs do not have."""
    parameters = inspect.signature(roi_head._bbox_forward).parameters
    extra = sorted(
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty
        and name not in ('stage', 'x', 'rois')
    )
    if extra:
        raise ValueError(
            f"the {role}'s {type(roi_head).__name__} also feeds "
            f'{", ".join(extra)} to its box heads, which cannot be computed '
            'for given RoIs; use neck_loss'
        )


def check_roi_maps(mine: Sequence[int], theirs: Sequence[int]) -> None:
    """Refuse RoIAlign maps of different size.

    Args:
        mine: Shape (D, h, w) of the student's maps.
        theirs: Shape of the teacher's.

    Raises:
        ValueError: If the maps differ in size, with both sizes.
    """
    if mine[1:] != theirs[1:]:
        raise ValueError(
            f'roi_loss compares RoIAlign maps, but they are {mine[1]} x '
            f'{mine[2]} in the student and {theirs[1]} x {theirs[2]} in the '
            'teacher: set bbox_roi_extractor.roi_layer.output_size of both '
            'to one'
        )
