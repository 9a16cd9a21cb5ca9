"""Observe what a detector's training pass produced, without running it twice.

Shapes: N images, L levels, R RoIs, D channels, K categories, background
included and last; A anchors per point of a dense head, S scores of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor
from torch import Tensor, nn

from mmwkd.distillers.categories import dense_scores, roi_logits
from mmwkd.distillers.predictions import Predictions, observed_predictions


@dataclass(frozen=True)
class RoIStage:
    """What one stage of a RoI head saw and said in a training pass."""

    rois: Tensor  # (R, 5), [batch_idx, x1, y1, x2, y2] in input pixels
    feats: Tensor  # (R, D, h, w), maps fed to the box head
    logits: Tensor  # (R, K)
    labels: Tensor  # (R,), background is K - 1
    label_weights: Tensor  # (R,), weights in the head's classification loss
    deltas: Any = None  # (R, 4 * C) or (R, 4) where the head predicts deltas


@dataclass(frozen=True, kw_only=True)
class DetectorPass:
    """What a detector made of a batch, as a student or as a teacher."""

    neck_feats: tuple[Tensor, ...]  # L maps (N, D, H, W)
    # of a dense head, if asked for without predictions
    dense_scores: tuple[Tensor, ...] = ()  # L maps (N, A, S, H, W)
    predictions: Predictions | None = None  # if asked for
    # of further modules, by the names they were asked for with
    outputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scores(self) -> tuple[Tensor, ...]:
        """Scores of the predictions, or else of the dense head."""
        if self.predictions is not None:
            return self.predictions.scores
        return self.dense_scores


@dataclass(frozen=True, kw_only=True)
class TrainingPass(DetectorPass):
    """What a detector's training pass produced; tensors are in its graph."""

    stages: tuple[RoIStage, ...]  # one per box head, empty if not asked for


class Capture:
    """Handle yielded by :func:`capture`; readable once the pass is over."""

    def __init__(self) -> None:
        self._record: TrainingPass | None = None

    @property
    def record(self) -> TrainingPass:
        """The pass that was observed."""
        if self._record is None:
            raise RuntimeError('the captured pass has not finished')
        return self._record


def box_heads(detector: BaseDetector) -> tuple[BBoxHead, ...]:
    """Box heads of a two-stage detector, one per stage."""
    return _stages(detector.roi_head.bbox_head)


def roi_extractors(detector: BaseDetector) -> tuple[BaseRoIExtractor, ...]:
    """RoI extractors of a two-stage detector, one per stage."""
    return _stages(detector.roi_head.bbox_roi_extractor)


@contextmanager
def capture(
    detector: BaseDetector,
    *,
    roi_stages: bool,
    scores: bool = False,
    image_sizes: Tensor | None = None,
    modules: Mapping[str, nn.Module] | None = None,
) -> Iterator[Capture]:
    """Observe one training pass of ``detector`` run inside the context.

    Module calls are observed with hooks, which are removed on leaving, also
    by an exception. Of several calls of a box head the last is the pass's
    own: hard example mining ranks candidates with it first.

    Args:
        detector: An mmdet detector; with ``roi_stages`` a two-stage one.
        roi_stages: Whether to observe the RoI head.
        scores: Whether to observe the class scores of the dense head.
        image_sizes: Height and width of each image, of shape (N, 2), to
            observe what is predicted of them.
        modules: Further modules of the detector whose output is kept, by
            names of the caller's choice.

    Yields:
        A handle whose ``record`` is set when the context ends normally.

    Raises:
        RuntimeError: If the pass did not call the neck, the dense head or a
            further module once, or a box head never, so that the record
            would not be of that pass.
    """
    captured = Capture()
    watched = {
        'neck': detector.neck if detector.with_neck else detector.backbone
    }
    if scores:
        watched['dense head'] = detector.bbox_head
    observers = []
    with ExitStack() as hooks:
        outputs = hooks.enter_context(recorded_outputs(watched))
        others = hooks.enter_context(recorded_outputs(modules or {}))
        read = None
        if image_sizes is not None:
            read = hooks.enter_context(
                observed_predictions(detector, image_sizes)
            )
        if roi_stages:
            observers = [_StageObserver(head) for head in box_heads(detector)]
            for observer, extractor in zip(
                observers, roi_extractors(detector), strict=True
            ):
                for handle in observer.observe(extractor):
                    hooks.callback(handle.remove)
        yield captured

    feats = only_output('neck', outputs)
    scored: Sequence[Tensor] = ()
    if scores:
        scored = dense_scores(
            detector.bbox_head, only_output('dense head', outputs)
        )
    captured._record = TrainingPass(
        neck_feats=(feats,) if isinstance(feats, Tensor) else tuple(feats),
        stages=_stages_of_pass(observers),
        dense_scores=tuple(scored),
        predictions=read() if read else None,
        outputs={name: only_output(name, others) for name in others},
    )


def _appends_to(outputs: list[Any]) -> Callable[..., None]:
    """A forward hook that keeps what a module returned."""
    return lambda module, args, output: outputs.append(output)


@contextmanager
def recorded_outputs(
    modules: Mapping[str, nn.Module],
) -> Iterator[dict[str, list[Any]]]:
    """Keep what modules return inside the context.

    Yields:
        Outputs of each module by its name, one for each call.
    """
    outputs: dict[str, list[Any]] = {name: [] for name in modules}
    with ExitStack() as hooks:
        for name, module in modules.items():
            handle = module.register_forward_hook(_appends_to(outputs[name]))
            hooks.callback(handle.remove)
        yield outputs


def only_output(name: str, outputs: Mapping[str, Sequence[Any]]) -> Any:
    """The output of a module that a pass has called once; else an error."""
    if len(outputs[name]) != 1:
        raise RuntimeError(
            f'expected one call of the {name} in a training pass, saw '
            f'{len(outputs[name])}; this detector cannot be observed'
        )
    return outputs[name][0]


def _stages_of_pass(
    observers: Sequence[_StageObserver],
) -> tuple[RoIStage, ...]:
    stages: list[RoIStage] = []
    for index, observer in enumerate(observers):
        out_of_rois = bool(stages) and len(stages[-1].rois) == 0
        if out_of_rois and not observer.was_called:
            # a cascade stops when it has no box left to refine
            stages.append(stages[-1])
        else:
            stages.append(observer.stage(index))
    return tuple(stages)


class _StageObserver:
    """One stage of a RoI head: extractor, box head, classification loss."""

    def __init__(self, head: BBoxHead) -> None:
        self._head = head
        self._extracted_rois: list[Tensor] = []
        # RoIs, maps, class scores and boxes of the last call of the box head
        self._head_call: tuple[Tensor, Tensor, Tensor, Any] | None = None
        # labels and label weights that these scores were scored with
        self._targets: tuple[Tensor, Tensor] | None = None

    def observe(self, extractor: BaseRoIExtractor) -> list[Any]:
        return [
            extractor.register_forward_pre_hook(
                self._on_extractor, with_kwargs=True
            ),
            self._head.register_forward_hook(self._on_head),
            self._head.loss_cls.register_forward_pre_hook(
                self._on_loss, with_kwargs=True
            ),
        ]

    def _on_extractor(
        self, module: nn.Module, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> None:
        rois = args[1] if len(args) > 1 else kwargs['rois']
        self._extracted_rois.append(rois)

    def _on_head(
        self,
        module: nn.Module,
        args: Sequence[Any],
        output: tuple[Tensor, ...],
    ) -> None:
        if not self._extracted_rois:
            raise RuntimeError(
                'the box head was called on features that its RoI extractor '
                'did not make; this detector cannot be observed'
            )
        # heads with a second extraction (of enlarged boxes for regression)
        # make the one of the sampled boxes first
        scores, boxes = output[:2]
        self._head_call = (self._extracted_rois[0], args[0], scores, boxes)
        self._extracted_rois = []
        self._targets = None

    def _on_loss(
        self, module: nn.Module, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> None:
        scores = args[0] if args else kwargs['cls_score']
        # heads may score subsets or reweighted ones beside their own
        own = self._head_call is not None and scores is self._head_call[2]
        if own and self._targets is None:
            self._targets = (
                args[1] if len(args) > 1 else kwargs['label'],
                args[2] if len(args) > 2 else kwargs['weight'],
            )

    @property
    def was_called(self) -> bool:
        """Whether the box head ran in the pass."""
        return self._head_call is not None

    def stage(self, index: int) -> RoIStage:
        """The record of the pass, once it is over."""
        if self._head_call is None:
            raise RuntimeError(
                f'expected a call of box head {index} in a training pass, '
                'saw 0; this detector cannot be observed'
            )
        rois, feats, scores, deltas = self._head_call
        logits = roi_logits(self._head.loss_cls, scores)
        if len(rois) == 0:  # mmdet then skips the classification loss
            targets = rois.new_zeros(0, dtype=torch.long), rois.new_zeros(0)
            return RoIStage(rois, feats, logits, *targets, deltas)
        if self._targets is None:
            raise RuntimeError(
                f'the classification loss of box head {index} was not '
                'computed on the logits that the head returned; this head '
                'cannot be observed'
            )
        return RoIStage(rois, feats, logits, *self._targets, deltas)


def _stages(module: nn.Module) -> tuple[Any, ...]:
    return tuple(module) if isinstance(module, nn.ModuleList) else (module,)
