"""Check at build time that a student and a teacher can be compared.

Shapes: L levels, D channels, K categories, background included and last.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmdet.models.detectors import BaseDetector, TwoStageDetector
from mmdet.models.roi_heads import BaseRoIHead
from torch import Tensor

from mmwkd.distillers.capture import box_heads
from mmwkd.distillers.teacher import roi_maps

_PROBE_SIZE = 256  # pixels, a multiple of every stride in use


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


@torch.no_grad()
def probe_shapes(detector: BaseDetector, *, with_rois: bool) -> FeatureShapes:
    """Run a detector on one blank image to learn the shapes of its features.

    Args:
        detector: Detector to run, left in the modes it was found in.
        with_rois: Whether the RoI extractors are run as well.

    Returns:
        Shapes of its features.
    """
    modes = [(module, module.training) for module in detector.modules()]
    parameter = next(detector.parameters())
    image = parameter.new_zeros(1, 3, _PROBE_SIZE, _PROBE_SIZE)
    roi = parameter.new_tensor([[0, 0, 0, _PROBE_SIZE, _PROBE_SIZE]])
    detector.eval()
    try:
        feats: Sequence[Tensor] = detector.extract_feat(image)
        maps = (
            tuple(
                tuple(roi_maps(detector, index, feats, roi).shape[1:])
                for index in range(len(box_heads(detector)))
            )
            if with_rois
            else ()
        )
    except RuntimeError as error:
        raise ValueError(
            f'the {type(detector).__name__} could not be run on a blank image '
            f'of {_PROBE_SIZE} pixels to learn the shapes of its features: '
            f'{error}'
        ) from error
    finally:
        for module, mode in modes:
            module.training = mode
    return FeatureShapes(
        strides=tuple(round(_PROBE_SIZE / feat.shape[-1]) for feat in feats),
        channels=tuple(feat.shape[1] for feat in feats),
        roi_maps=maps,
    )


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


def check_roi_heads(student: BaseDetector, teacher: BaseDetector) -> None:
    """Refuse RoI heads whose outputs cannot be compared row by row.

    Args:
        student: The student detector.
        teacher: The teacher detector.

    Raises:
        ValueError: If one is not two-stage, has no softmax classifier, or
            their stages or classes differ.
    """
    for role, detector in (('student', student), ('teacher', teacher)):
        check_roi_head(role, detector)
    stages = [len(box_heads(detector)) for detector in (student, teacher)]
    if stages[0] != stages[1]:
        raise ValueError(
            f'the student has {stages[0]} box heads, the teacher '
            f'{stages[1]}: their stages cannot be paired'
        )
    for mine, theirs in zip(
        box_heads(student), box_heads(teacher), strict=True
    ):
        if mine.num_classes != theirs.num_classes:
            raise ValueError(
                f'the student has {mine.num_classes} classes, the teacher '
                f'{theirs.num_classes}: set roi_head.bbox_head.num_classes '
                'of both to the same dataset'
            )


def check_roi_head(role: str, detector: BaseDetector) -> None:
    """Refuse detectors without softmax logits for given RoIs.

    Args:
        role: 'student' or 'teacher', for messages.
        detector: The detector.

    Raises:
        ValueError: If it is not two-stage, has no softmax classifier, or
            feeds its box heads with more than maps of their RoIs.
    """
    if not isinstance(detector, TwoStageDetector) or not (
        detector.with_roi_head and detector.roi_head.with_bbox
    ):
        raise ValueError(
            f'logit_loss and roi_loss need two-stage detectors with a '
            f'box head, but the {role} is a {type(detector).__name__}; '
            'neck_loss works for every detector with a neck'
        )
    _check_inputs_of_heads(role, detector.roi_head)
    for head in box_heads(detector):
        loss = head.loss_cls
        if getattr(loss, 'use_sigmoid', False) or head.custom_activation:
            raise ValueError(
                f"the {role}'s box head is trained with "
                f'{type(loss).__name__}, not with a softmax over '
                'categories and background; logit_loss and roi_loss work '
                'for heads with CrossEntropyLoss(use_sigmoid=False)'
            )


def _check_inputs_of_heads(role: str, roi_head: BaseRoIHead) -> None:
    """Refuse box heads that are fed with more than maps of their RoIs."""
    forward = inspect.signature(roi_head._bbox_forward)
    extra = sorted(set(forward.parameters) - {'stage', 'x', 'rois'})
    if extra and any(
        getattr(roi_head, name, False)
        for name in ('with_semantic', 'with_glbctx', 'with_feat_relay')
    ):
        raise ValueError(
            f"the {role}'s {type(roi_head).__name__} also feeds "
            f'{", ".join(extra)} to its box heads, which cannot be computed '
            'for given RoIs; use neck_loss'
        )


def check_roi_maps(student: FeatureShapes, teacher: FeatureShapes) -> None:
    """Refuse RoIAlign maps of different size.

    Args:
        student: Shapes of the student.
        teacher: Shapes of the teacher.

    Raises:
        ValueError: If the maps differ in size, with both sizes.
    """
    for mine, theirs in zip(student.roi_maps, teacher.roi_maps, strict=True):
        if mine[1:] != theirs[1:]:
            raise ValueError(
                f'roi_loss compares RoIAlign maps, but they are '
                f'{mine[1]} x {mine[2]} in the student and '
                f'{theirs[1]} x {theirs[2]} in the teacher: set '
                'bbox_roi_extractor.roi_layer.output_size of both to one'
            )
