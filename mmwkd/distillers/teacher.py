"""The frozen teacher: load it, keep it frozen, run what a loss needs of it.

Shapes: N images, L levels, R RoIs, D channels, K categories, background
included and last.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Real
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmengine.logging import print_log
from torch import Tensor, nn

from mmwkd.configs import (
    class_names,
    config_name,
    first_difference,
    read_model,
)
from mmwkd.distillers.capture import (
    DetectorPass,
    box_heads,
    only_output,
    recorded_outputs,
    roi_extractors,
)
from mmwkd.distillers.categories import dense_scores, roi_logits
from mmwkd.distillers.checkpoint import load_strictly, read_weights
from mmwkd.distillers.predictions import predict_boxes


@dataclass(frozen=True, kw_only=True)
class TeacherSpeed:
    """How the teacher's backbone and neck run; none of it is on by default.

    Attributes:
        autocast: Type of its convolutions, 'float16' or 'bfloat16'; maps
            are float32 again behind the neck. None to follow the student.
        image_scale: Factor, at most 1, of the sides of its images. RoIs are
            scaled along, so it is for what is compared by RoIs. At 0.5 the
            backbone has a quarter of the work.
    """

    autocast: str | None = None
    image_scale: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no choice."""
        if self.autocast not in (None, 'float16', 'bfloat16'):
            raise ValueError(
                "teacher.autocast must be 'float16', 'bfloat16' or None, got "
                f'{self.autocast!r}'
            )
        scale = self.image_scale
        if not isinstance(scale, Real) or not 0 < scale <= 1:
            raise ValueError(
                f'teacher.image_scale must lie in (0, 1], got {scale!r}'
            )


# scaled images are padded to multiples of it, for strides up to it
_SIZE_DIVISOR = 32

_SPEED_KEYS = tuple(field.name for field in fields(TeacherSpeed))
TEACHER_KEYS = (
    'config',
    'checkpoint',
    'classes',
    'allow_random',
    *_SPEED_KEYS,
)


@dataclass(frozen=True)
class TeacherStage:
    """What the teacher's RoI head makes of one stage's RoIs."""

    feats: Tensor  # (R, D, h, w)
    logits: Tensor | None  # (R, K); None where no loss needs them
    deltas: Any = None  # (R, 4 * C) or (R, 4), beside logits


@dataclass(frozen=True, kw_only=True)
class TeacherPass(DetectorPass):
    """What the teacher makes of the student's images and RoIs."""

    stages: tuple[TeacherStage, ...]  # one for each stage of the student
    # of the sets of RoIs that a place asked for, by its entry
    judged: Mapping[str, tuple[TeacherStage, ...]] = field(
        default_factory=dict
    )

    def named_tensors(self) -> dict[str, Tensor]:
        """Its tensors by what they are called in messages."""
        tensors = {
            f'neck feature map {level}': feats
            for level, feats in enumerate(self.neck_feats)
        }
        for entry, stages in {'': self.stages, **self.judged}.items():
            of_place = f' for {entry}_loss' if entry else ''
            for index, stage in enumerate(stages):
                name = f'of stage {index}{of_place}'
                tensors[f'RoI feature maps {name}'] = stage.feats
                if stage.logits is not None:
                    tensors[f'class logits {name}'] = stage.logits
                if isinstance(stage.deltas, Tensor):  # SABL predicts buckets
                    tensors[f'box deltas {name}'] = stage.deltas
        for level, scores in enumerate(self.scores):
            tensors[f'class scores of level {level}'] = scores
        return tensors | self.undefined()

    def undefined(self) -> dict[str, Tensor]:
        """What is NaN if it spoils a run whose losses stay finite.

        A box that is none overlaps no other, so no loss shows it.
        """
        predicted = self.predictions
        if predicted is None or predicted.undefined is None:
            return {}
        return {'predicted boxes': predicted.undefined}


class FrozenTeacher:
    """A trained detector in eval mode without gradients.

    Not an ``nn.Module``, so that its owner does not register it: no
    optimizer, state dict, checkpoint or DDP bucket ever sees it, and
    ``train()`` on the owner does not reach it. The owner forwards device and
    dtype moves to :meth:`move`. A deep copy (as EMA makes) shares the
    detector, which never changes, and does not move it.

    Args:
        detector: The detector; it is frozen here.
        classes: Its foreground classes in order; None if unknown.
        sha256: Hash of its checkpoint file; empty without one.
        speed: How its backbone and neck run.
    """

    def __init__(
        self,
        detector: BaseDetector,
        classes: tuple[str, ...] | None,
        *,
        sha256: str = '',
        speed: TeacherSpeed | None = None,
    ) -> None:
        self.speed = speed or TeacherSpeed()
        self.detector = detector.eval()
        self.detector.requires_grad_(False)
        self.classes = classes
        self.sha256 = sha256
        self._moves_detector = True

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTeacher:
        twin = copy.copy(self)
        twin._moves_detector = False
        return twin

    def check_classes(self, classes: Sequence[str]) -> None:
        """Refuse a dataset of other classes, where the teacher's are known."""
        known = self.classes
        if known is not None and known != tuple(classes):
            raise ValueError(
                'the teacher was trained on other classes, or in another '
                f'order, than the dataset has: '
                f'{first_difference(classes, known)}; if only their names '
                'differ, set teacher.classes'
            )

    def move(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Apply a device or dtype move to all tensors of the teacher."""
        if self._moves_detector:
            self.detector._apply(fn)
            # mmengine's own moves tell the data preprocessor where images
            # are to go; a bare _apply does not
            self.detector.to(next(self.detector.parameters()).device)

    @torch.no_grad()
    def observe(
        self,
        inputs: Tensor,
        rois: Sequence[Tensor],
        *,
        logits: bool,
        scores: bool = False,
        shapes: Sequence[tuple[int, int]] | None = None,
        modules: Mapping[str, nn.Module] | None = None,
        others: Mapping[str, Sequence[Tensor]] | None = None,
    ) -> TeacherPass:
        """Run the backbone, the neck, and the head on given RoIs.

        Args:
            inputs: Images with the teacher's own preprocessing, of shape
                (N, 3, H, W).
            rois: RoIs of each stage, (R, 5); empty to skip the RoI head.
            logits: Whether the box head is run behind the RoI extractor.
            scores: Whether the dense head is run.
            shapes: Height and width of each image, to run its heads for
                what it predicts of them.
            modules: Further modules of the teacher whose output is kept, by
                names of the caller's choice.
            others: Further RoIs, as ``rois``, by names of the caller's
                choice.
        """
        inputs, groups = self._scaled(inputs, {'': rois, **(others or {})})
        with recorded_outputs(modules or {}) as outputs:
            neck_feats = self.neck_feats(inputs)
            context = None
            if any(groups.values()):
                context = self.head_context(neck_feats)
            judged = {
                name: tuple(
                    self.roi_stage(
                        neck_feats,
                        matching_stage(self.detector, index),
                        of_stage,
                        logits=logits,
                        context=context,
                    )
                    for index, of_stage in enumerate(group)
                )
                for name, group in groups.items()
            }
            scored: Sequence[Tensor] = ()
            if scores:
                head = self.detector.bbox_head
                scored = dense_scores(head, head(tuple(neck_feats)))
            predictions = None
            if shapes is not None:
                predictions = predict_boxes(
                    self.detector,
                    neck_feats,
                    shapes,
                    tuple(inputs.shape[-2:]),
                )
        return TeacherPass(
            neck_feats=tuple(neck_feats),
            stages=judged.pop(''),
            judged=judged,
            dense_scores=tuple(scored),
            predictions=predictions,
            outputs={name: only_output(name, outputs) for name in outputs},
        )

    def _scaled(
        self, inputs: Tensor, groups: Mapping[str, Sequence[Tensor]]
    ) -> tuple[Tensor, Mapping[str, Sequence[Tensor]]]:
        """Images of the teacher's own size, and the RoIs in them."""
        scale = self.speed.image_scale
        if scale == 1:
            return inputs, groups
        height, width = (math.ceil(side * scale) for side in inputs.shape[-2:])
        scale_y, scale_x = height / inputs.shape[-2], width / inputs.shape[-1]
        resized = F.interpolate(
            inputs, (height, width), mode='bilinear', antialias=True
        )
        padding = (0, -width % _SIZE_DIVISOR, 0, -height % _SIZE_DIVISOR)
        scaled = {
            name: [each.clone() for each in rois]
            for name, rois in groups.items()
        }
        for rois in scaled.values():
            for each in rois:
                each[:, 1::2] *= scale_x
                each[:, 2::2] *= scale_y
        return F.pad(resized, padding), scaled

    @torch.no_grad()
    def neck_feats(self, inputs: Tensor) -> Sequence[Tensor]:
        """Maps of the neck on images (N, 3, H, W), with ``autocast``."""
        own = next(self.detector.parameters()).dtype
        inputs = inputs.to(own)
        if self.speed.autocast is None:
            neck_feats = self.detector.extract_feat(inputs)
        else:
            dtype = getattr(torch, self.speed.autocast)
            with torch.autocast(inputs.device.type, dtype):
                neck_feats = self.detector.extract_feat(inputs)
            neck_feats = [feats.to(own) for feats in neck_feats]
        # mmcv's RoIAlign reads memory as if channels came first
        return [feats.contiguous() for feats in neck_feats]

    @torch.no_grad()
    def head_context(self, neck_feats: Sequence[Tensor]) -> dict[str, Tensor]:
        """What the box heads of all stages get beside maps of their RoIs.

        HTC adds features of a semantic branch, SCNet of the whole image too.
        """
        roi_head = self.detector.roi_head
        context: dict[str, Tensor] = {}
        if getattr(roi_head, 'with_semantic', False):
            context['semantic_feat'] = roi_head.semantic_head(neck_feats)[1]
        if getattr(roi_head, 'with_glbctx', False):
            context['glbctx_feat'] = roi_head.glbctx_head(neck_feats)[1]
        return context

    @torch.no_grad()
    def roi_stage(
        self,
        neck_feats: Sequence[Tensor],
        index: int,
        rois: Tensor,
        *,
        logits: bool,
        context: Mapping[str, Tensor] | None = None,
    ) -> TeacherStage:
        """Run one stage of the RoI head on RoIs (R, 5).

        Without a context, which stages can share, it makes its own.
        """
        roi_head = self.detector.roi_head
        if context is None:
            context = self.head_context(neck_feats)
        if not (logits or context):
            maps = roi_maps(self.detector, index, neck_feats, rois)
            return TeacherStage(maps, None)
        head = box_heads(self.detector)[index]
        cascaded = isinstance(roi_head.bbox_head, nn.ModuleList)
        stage = (index,) if cascaded else ()
        fed: list[Tensor] = []  # not every head returns the maps it is fed
        with head.register_forward_pre_hook(
            lambda module, args: fed.append(args[0])
        ):
            results = roi_head._bbox_forward(
                *stage, neck_feats, rois, **context
            )
        if not logits:
            return TeacherStage(fed[0], None)
        return TeacherStage(
            fed[0],
            roi_logits(head.loss_cls, results['cls_score']),
            results.get('bbox_pred'),
        )


def matching_stage(teacher: BaseDetector, index: int) -> int:
    """Stage of a teacher that a student's stage learns from.

    A student with more stages learns from the teacher's last in those that
    the teacher does not have. One with fewer leaves out the teacher's later
    stages: they are trained on better boxes than it samples.
    """
    return min(index, len(box_heads(teacher)) - 1)


def roi_maps(
    detector: BaseDetector,
    index: int,
    neck_feats: Sequence[Tensor],
    rois: Tensor,
) -> Tensor:
    """Maps that a stage's box head is fed with, of shape (R, D, h, w)."""
    extractor = roi_extractors(detector)[index]
    maps = extractor(neck_feats[: extractor.num_inputs], rois)
    if detector.roi_head.with_shared_head:
        maps = detector.roi_head.shared_head(maps)
    return maps


def build_teacher(cfg: Mapping[str, Any]) -> FrozenTeacher:
    """Build a teacher from the ``teacher`` entry of a distiller's config.

    Args:
        cfg: ``config`` is a path, an external path such as
            'mmdet::faster_rcnn/faster-rcnn_r101_fpn_2x_coco.py', or a model
            config; ``checkpoint`` is a path or URL. Without a checkpoint,
            ``allow_random=True`` has to say that random weights are wanted.
            ``classes`` overrides the class list stored in the checkpoint.
            The fields of :class:`TeacherSpeed` are options as well.

    Returns:
        The frozen teacher.

    Raises:
        FileNotFoundError: If the config or the checkpoint does not exist.
        ImportError: If the config imports a package that is not installed.
        ValueError: If an option is unknown, or the checkpoint does not fit.
    """
    if (
        not isinstance(cfg, Mapping)
        or 'config' not in cfg
        or not set(cfg) <= set(TEACHER_KEYS)
    ):
        raise ValueError(
            'teacher must be one dict with a config, and may have '
            f'{", ".join(TEACHER_KEYS[1:])}; got '
            f'{sorted(cfg) if isinstance(cfg, Mapping) else cfg!r}'
        )
    source, name = cfg.get('checkpoint'), config_name(cfg['config'])
    allow_random = cfg.get('allow_random', False)
    if (source is None) != bool(allow_random):
        raise ValueError(
            'teacher.checkpoint is not set: give the path or URL of trained '
            'weights, or allow_random=True if a random teacher is wanted'
            if source is None
            else 'teacher.checkpoint contradicts allow_random=True'
        )

    speed = TeacherSpeed(
        **{name: cfg[name] for name in _SPEED_KEYS if name in cfg}
    )
    detector = MODELS.build(read_model(cfg['config']))
    classes = class_names(cfg.get('classes'))
    if source is None:
        detector.init_weights()
        print_log(
            f'mmwkd: the teacher {name} has RANDOM weights, as asked for; '
            'nothing can be learnt from it',
            'current',
            level=30,
        )
        return FrozenTeacher(detector, classes, speed=speed)

    weights = read_weights(str(source))
    unused = load_strictly(detector, weights, str(source))
    classes = classes or class_names(
        weights.classes, f'the class list in {source}'
    )
    print_log(
        f'mmwkd: teacher {name} loaded from {source} '
        f'(sha256 {weights.sha256[:8]}, '
        f'{len(weights.state_dict) - len(unused)} of '
        f'{len(weights.state_dict)} tensors used, '
        f'number of classes: {len(classes) if classes else "not stored"})',
        'current',
    )
    return FrozenTeacher(detector, classes, sha256=weights.sha256, speed=speed)
