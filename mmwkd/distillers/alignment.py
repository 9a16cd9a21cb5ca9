"""Check at build time that a student and a teacher can be compared.

Shapes: L levels, D channels, K categories, background included and last.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, TypeVar

import torch
from mmdet.models.detectors import BaseDetector, TwoStageDetector
from mmdet.models.roi_heads import BaseRoIHead
from torch import Tensor, nn

from mmwkd.distillers.capture import box_heads
from mmwkd.distillers.categories import check_loss_cls, dense_scores
from mmwkd.distillers.predictions import prediction_head
from mmwkd.distillers.teacher import FrozenTeacher, roi_maps

# pixels, a multiple of every stride in use; deformable convolutions of stride
# 128 and the last layers of SSD cannot do with fewer
_PROBE_SIZE = 384

_T = TypeVar('_T')


class Probe:
    """A detector that is run on one blank image, to learn shapes.

    It is run when asked, once, and left in the modes it was found in.
    """

    def __init__(self, detector: BaseDetector) -> None:
        self.detector = detector

    @cached_property
    def strides(self) -> tuple[int, ...]:
        """Strides of the neck's levels in input pixels, of length L."""
        return tuple(
            round(_PROBE_SIZE / feat.shape[-1]) for feat in self._neck_feats
        )

    @cached_property
    def channels(self) -> tuple[int, ...]:
        """Channels of the neck's levels, of length L."""
        return tuple(feat.shape[1] for feat in self._neck_feats)

    @cached_property
    def roi_maps(self) -> tuple[tuple[int, ...], ...]:
        """Shapes (D, h, w) of the RoIAlign maps of each stage."""
        feats = self._neck_feats
        roi = feats[0].new_tensor([[0, 0, 0, _PROBE_SIZE, _PROBE_SIZE]])
        maps = self._run(
            lambda: [
                roi_maps(self.detector, index, feats, roi)
                for index in range(len(box_heads(self.detector)))
            ]
        )
        return tuple(tuple(each.shape[1:]) for each in maps)

    @cached_property
    def dense_levels(self) -> list[tuple[int, int]]:
        """Stride and anchors per point of a dense head's levels."""
        head = self.detector.bbox_head
        scores = self._run(lambda: dense_scores(head, head(self._neck_feats)))
        return [
            (_PROBE_SIZE // level.shape[-1], level.shape[1])
            for level in scores
        ]

    @property
    def image_channels(self) -> int:
        """Channels of the images that it takes."""
        return self._image_and_feats[0]

    @property
    def _neck_feats(self) -> Sequence[Tensor]:
        return self._image_and_feats[1]

    @cached_property
    def _image_and_feats(self) -> tuple[int, Sequence[Tensor]]:
        parameter = next(self.detector.parameters())
        refusals = []
        for channels in _likely_channels(self.detector.backbone):
            image = parameter.new_zeros(1, channels, _PROBE_SIZE, _PROBE_SIZE)
            try:
                return channels, self._run(self.detector.extract_feat, image)
            except torch.cuda.OutOfMemoryError:
                raise
            except RuntimeError as error:
                refusals.append(error)
        raise refusals[0]

    @torch.no_grad()
    def _run(self, run: Callable[..., _T], *args: Any) -> _T:
        modes = [(each, each.training) for each in self.detector.modules()]
        self.detector.eval()
        try:
            return run(*args)
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:
            # no ValueError, which would say that a place suits other pairs
            raise RuntimeError(
                f'the {type(self.detector).__name__} could not be run on a '
                f'blank image of {_PROBE_SIZE} pixels to learn the shapes of '
                f'its features: {error}'
            ) from error
        finally:
            for module, mode in modes:
                module.training = mode


def _likely_channels(backbone: nn.Module) -> list[int]:
    """Numbers of image channels to try, the likeliest first."""
    first = next(
        (each for each in backbone.modules() if isinstance(each, nn.Conv2d)),
        None,
    )
    if first is None:
        return [3]
    # the stem of YOLOX makes four channels of each
    return list(dict.fromkeys((first.in_channels, first.in_channels // 4, 3)))


class DetectorPair:
    """A student and its teacher, and what running them once tells."""

    def __init__(self, student: BaseDetector, teacher: FrozenTeacher) -> None:
        self.student = student
        self.teacher = teacher
        self.student_probe = Probe(student)
        self.teacher_probe = Probe(teacher.detector)

    def check_images(self) -> None:
        """Refuse detectors whose images have other numbers of channels."""
        likely = (
            _likely_channels(detector.backbone)
            for detector in (self.student, self.teacher.detector)
        )
        if len(set(map(tuple, likely))) == 1:
            return
        student, teacher = (
            probe.image_channels
            for probe in (self.student_probe, self.teacher_probe)
        )
        if student != teacher:
            raise ValueError(
                f'the student takes images of {student} channels and the '
                f'teacher of {teacher}: both see the same images, so give '
                'them a teacher that was trained on such'
            )


def check_same_size(pair: DetectorPair, title: str) -> None:
    """Refuse a teacher that sees images of another size (``image_scale``)."""
    scale = pair.teacher.speed.image_scale
    if scale != 1:
        raise ValueError(
            f'{title} compares position by position, but '
            f'teacher.image_scale is {scale}: leave it out, or compare RoIs '
            '(roi_loss, logit_loss of two-stage detectors)'
        )


def check_roi_heads(pair: DetectorPair) -> None:
    """Refuse detectors whose RoI heads cannot be run on the same RoIs."""
    check_roi_head('student', pair.student)
    check_roi_head('teacher', pair.teacher.detector)


def common_classes(pair: DetectorPair) -> int:
    """Number of classes of both detectors; other numbers are refused."""
    student, teacher = (
        prediction_head(detector).num_classes
        for detector in (pair.student, pair.teacher.detector)
    )
    if student != teacher:
        raise ValueError(
            f'the student has {student} classes, the teacher {teacher}: set '
            'num_classes of their heads to the same dataset'
        )
    return teacher


def check_roi_head(role: str, detector: BaseDetector) -> None:
    """Refuse detectors without softmax logits for given RoIs.

    The role is 'student' or 'teacher', for messages.
    """
    if not (
        isinstance(detector, TwoStageDetector)
        and detector.with_roi_head
        and detector.roi_head.with_bbox
    ):
        raise ValueError(
            f'RoIs are compared between two-stage detectors with a box head, '
            f'but the {role} is a {type(detector).__name__}; logit_loss and '
            'neck_loss work between all'
        )
    _check_inputs_of_heads(role, detector.roi_head)
    for head in box_heads(detector):
        check_loss_cls(role, head.loss_cls)


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
