"""Observe what a detector's training pass produced, without running it twice.

Shapes: N images, L levels, R RoIs, D channels, K categories, background
included and last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor
from torch import Tensor, nn


@dataclass(frozen=True)
class RoIStage:
    """What one stage of a RoI head saw and said in a training pass."""

    rois: Tensor  # (R, 5), [batch_idx, x1, y1, x2, y2] in input pixels
    feats: Tensor  # (R, D, h, w), maps fed to the box head
    logits: Tensor  # (R, K)
    labels: Tensor  # (R,), background is K - 1
    label_weights: Tensor  # (R,), weights in the head's classification loss


@dataclass(frozen=True)
class TrainingPass:
    """What a detector's training pass produced; tensors are in its graph."""

    neck_feats: tuple[Tensor, ...]  # L maps (N, D, H, W)
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
def capture(detector: BaseDetector, *, roi_stages: bool) -> Iterator[Capture]:
    """Observe one training pass of ``detector`` run inside the context.

    Module calls are observed with hooks, which are removed on leaving, also
    by an exception. Calls under another grad mode than that on entry are
    not part of the pass: hard example mining runs the box head under
    ``no_grad`` to rank candidates.

    Args:
        detector: An mmdet detector; with ``roi_stages`` a two-stage one.
        roi_stages: Whether to observe the RoI head.

    Yields:
        A handle whose ``record`` is set when the context ends normally.

    Raises:
        RuntimeError: If the pass did not call the neck once and each box
            head once, so that the record would not be of that pass.
    """
    seen = Capture()
    neck = detector.neck if detector.with_neck else detector.backbone
    neck_calls = _Calls()
    observers = (
        [_StageObserver() for _ in box_heads(detector)] if roi_stages else []
    )

    with ExitStack() as hooks:
        hooks.callback(neck_calls.observe(neck).remove)
        if roi_stages:
            for observer, head, extractor in zip(
                observers,
                box_heads(detector),
                roi_extractors(detector),
                strict=True,
            ):
                for handle in observer.observe(head, extractor):
                    hooks.callback(handle.remove)
        yield seen

    if len(neck_calls.outputs) != 1:
        raise RuntimeError(
            'expected one call of the neck in a training pass, saw '
            f'{len(neck_calls.outputs)}; this detector cannot be observed'
        )
    feats = neck_calls.outputs[0]
    seen._record = TrainingPass(
        neck_feats=(feats,) if isinstance(feats, Tensor) else tuple(feats),
        stages=tuple(
            observer.stage(i) for i, observer in enumerate(observers)
        ),
    )


class _Calls:
    """Outputs of a module's calls in the grad mode of the pass."""

    def __init__(self) -> None:
        self._grad_mode = torch.is_grad_enabled()
        self.outputs: list[Any] = []

    def observe(self, module: nn.Module) -> Any:
        return module.register_forward_hook(self._append)

    def _append(self, module: nn.Module, args: tuple, output: Any) -> None:
        if torch.is_grad_enabled() == self._grad_mode:
            self.outputs.append(output)


class _StageObserver:
    """One stage of a RoI head: extractor, box head, classification loss."""

    def __init__(self) -> None:
        self._grad_mode = torch.is_grad_enabled()
        self._extracted_rois: list[Tensor] = []
        self._head_calls: list[tuple[Tensor, Tensor, Tensor]] = []
        self._loss_calls: list[tuple[Tensor, Tensor, Tensor]] = []

    def observe(
        self, head: BBoxHead, extractor: BaseRoIExtractor
    ) -> list[Any]:
        return [
            extractor.register_forward_pre_hook(
                self._in_pass(self._on_extractor), with_kwargs=True
            ),
            head.register_forward_hook(
                self._in_pass(self._on_head), with_kwargs=True
            ),
            head.loss_cls.register_forward_pre_hook(
                self._in_pass(self._on_loss), with_kwargs=True
            ),
        ]

    def _in_pass(self, hook: Callable[..., None]) -> Callable[..., None]:

        def guarded(*args: Any) -> None:
            if torch.is_grad_enabled() == self._grad_mode:
                hook(*args)

        return guarded

    def _on_extractor(
        self, module: nn.Module, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> None:
        rois = args[1] if len(args) > 1 else kwargs['rois']
        self._extracted_rois.append(rois)

    def _on_head(
        self,
        module: nn.Module,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        output: tuple[Tensor, ...],
    ) -> None:
        if not self._extracted_rois:
            raise RuntimeError(
                'the box head was called on features that its RoI extractor '
                'did not make; this detector cannot be observed'
            )
        # heads with a second extraction (of enlarged boxes for regression)
        # make the one of the sampled boxes first
        self._head_calls.append((self._extracted_rois[0], args[0], output[0]))
        self._extracted_rois = []

    def _on_loss(
        self, module: nn.Module, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> None:
        names = ('cls_score', 'label', 'weight')
        logits, labels, weights = (
            args[i] if len(args) > i else kwargs[name]
            for i, name in enumerate(names)
        )
        self._loss_calls.append((logits, labels, weights))

    def stage(self, index: int) -> RoIStage:
        if len(self._head_calls) != 1:
            raise RuntimeError(
                f'expected one call of box head {index} in a training pass, '
                f'saw {len(self._head_calls)}; this detector cannot be '
                'observed'
            )
        rois, feats, logits = self._head_calls[0]
        if len(rois) == 0:  # mmdet then skips the classification loss
            labels = rois.new_zeros(0, dtype=torch.long)
            return RoIStage(rois, feats, logits, labels, rois.new_zeros(0))
        if len(self._loss_calls) != 1 or (
            self._loss_calls[0][0] is not logits
        ):
            raise RuntimeError(
                f'the classification loss of box head {index} was not '
                'computed on the logits that the head returned; this head '
                'cannot be observed'
            )
        _, labels, label_weights = self._loss_calls[0]
        return RoIStage(rois, feats, logits, labels, label_weights)


def _stages(module: nn.Module) -> tuple[Any, ...]:
    return tuple(module) if isinstance(module, nn.ModuleList) else (module,)
