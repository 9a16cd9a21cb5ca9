"""What a detector predicts: boxes, each with scores of categories.

Whatever else differs between two detectors, both say this. Here is how it is
read from each kind of head; a head of another kind registers a function of its
own, see docs/extending.md.

Shapes: N images, M predictions of an image, T of them that are picked, A
anchors per point, (H, W) a level's points, R RoIs, Q queries, S scores: C
foreground categories, or K = C + 1 with background last.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import Any

import numpy as np
import torch
from mmdet.models.dense_heads import DDQDETRHead, DETRHead
from mmdet.models.detectors import BaseDetector
from mmdet.models.detectors.base_detr import DetectionTransformer
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmwkd.distillers.categories import (
    check_dense_head,
    check_loss_cls,
    dense_scores,
    roi_logits,
)
from mmwkd.distillers.dense_boxes import check_dense_boxes, dense_boxes
from mmwkd.distillers.pixels import sizes_of
from mmwkd.functional.extents import padding_mask

# where boxes are cut off, in sizes of their images
_FAR = 10.0


@dataclass(frozen=True)
class Predictions:
    """Boxes of a batch and the scores of their categories.

    The scores stay in the maps that they were made in, and only those of
    rows that are asked for are copied out. Rows are in mmdet's order: by
    levels, points and anchors.
    """

    boxes: Tensor  # (N, M, 4), corners in pixels of the batch, in the graph
    scores: tuple[Tensor, ...]  # levels (N, A, S, H, W), in the graph
    image_sizes: Tensor  # (N, 2), height and width
    # (N, M), whether the row is one of the image's own, not of another image
    # or of padding; None for all
    owned: Tensor | None = None
    # (), NaN where a box is none, as it was predicted; else 0
    undefined: Tensor | None = None
    _most_confident: dict[tuple[int, int], Tensor] = field(
        default_factory=dict, repr=False, compare=False
    )

    def most_confident(self, num_classes: int, count: int) -> Tensor:
        """Rows (N, T) with the best scores of any foreground category.

        At most ``count`` of each image, the best first; found once.
        """
        key = (num_classes, count)
        if key not in self._most_confident:
            self._most_confident[key] = most_confident(
                self.scores, *key, self.owned
            )
        return self._most_confident[key]

    def rows(self, index: Tensor) -> Tensor:
        """Scores (N, T, S) in the graph of rows (N, T)."""
        return rows_of(self.scores, index)

    def clipped_boxes(self, index: Tensor) -> Tensor:
        """Corners (N, T, 4) of rows (N, T), the second not before the first.

        What lies outside of their images is cut off.
        """
        boxes = pick(self.boxes, index).clamp(min=0)
        boxes = torch.minimum(boxes, _corners(self.image_sizes))
        first, second = boxes.chunk(2, dim=2)
        # an RTMDet may predict a right edge that is left of the left one
        return torch.cat([first, torch.maximum(first, second)], dim=2)


def pick(rows: Tensor, index: Tensor) -> Tensor:
    """Rows (N, T, ...) of rows (N, M, ...) by indices (N, T)."""
    images = torch.arange(len(index), device=index.device)[:, None]
    return rows[images, index]


@torch.no_grad()
def most_confident(
    maps: Sequence[Tensor],
    num_classes: int,
    count: int,
    allowed: Tensor | None = None,
) -> Tensor:
    """Rows (N, T) with the best score of any foreground category, best first.

    Args:
        maps: Scores of each level, of shape (N, A, S, H, W).
        num_classes: C.
        count: Rows of each image, where there are as many.
        allowed: Which rows come first, of shape (N, M); None for all.
    """
    levels = []
    for scores in maps:
        best = scores[:, :, :num_classes].amax(dim=2)  # (N, A, H, W)
        if scores.shape[2] > num_classes:  # of a softmax differences count
            best = best - scores[:, :, num_classes]
        levels.append(best.permute(0, 2, 3, 1).flatten(1))
    confidence = torch.cat(levels, dim=1)  # (N, M)
    if allowed is not None:
        confidence = confidence.where(allowed, -torch.inf)
    return confidence.topk(min(count, confidence.shape[1]), dim=1).indices


def rows_of(maps: Sequence[Tensor], index: Tensor) -> Tensor:
    """Copy rows (N, T) out of score maps, and nothing else: (N, T, S)."""
    images = torch.arange(len(index), device=index.device)[:, None]
    rows = maps[0].new_zeros(*index.shape, maps[0].shape[2])
    first = 0
    for scores in maps:
        anchors, _, height, width = scores.shape[1:]
        last = first + anchors * height * width
        within = (index - first).clamp(0, max(last - first - 1, 0))
        point = within // anchors
        picked = scores[
            images, within % anchors, :, point // width, point % width
        ]
        inside = (index >= first) & (index < last)
        rows = picked.where(inside[:, :, None], rows)
        first = last
    return rows


def deltas_of_label(deltas: Tensor, labels: Tensor) -> Tensor:
    """Deltas (R, 4) that the categories (R,) of RoIs have.

    A head predicts (R, 4 * C), or (R, 4) if it is class-agnostic; of the
    background, which has none, any are taken.
    """
    per_class = deltas.unflatten(1, (-1, 4))
    # a class-agnostic head has one entry, and background has none of its own
    index = labels.clamp(max=per_class.shape[1] - 1)
    return per_class[torch.arange(len(index), device=index.device), index]


@singledispatch
def box_predictions(
    head: nn.Module, outputs: Any, image_sizes: Tensor
) -> Predictions:
    """Read predictions out of what a head returned.

    Args:
        head: The head; its type chooses the function. For dense heads it is
            put together from :func:`dense_boxes` and
            :func:`mmwkd.distillers.dense_scores`.
        outputs: What a dense head or one with queries returned; of queries,
            those alone that are trained by matching. For a box head the RoIs
            (R, 5) and what it returned for them.
        image_sizes: Height and width of each image, without the padding of
            the batch, of shape (N, 2).

    Returns:
        The predictions of each image.

    Raises:
        ValueError: If heads of this type are not known.
    """
    boxes = torch.cat(dense_boxes(head, outputs), dim=1)
    scores = tuple(dense_scores(head, outputs))
    owned, strides = None, _strides(head)
    if len(strides) == len(scores):
        owned = inside_images(scores, strides, image_sizes)
    return Predictions(boxes, scores, image_sizes, owned)


_DENSE = box_predictions.dispatch(object)
# it trains queries of a second kind, and predicts with others
box_predictions.register(DDQDETRHead, _DENSE)


@box_predictions.register
def _of_queries(
    head: DETRHead, outputs: Sequence[Tensor], image_sizes: Tensor
) -> Predictions:
    scores, boxes = (layers[-1] for layers in outputs[:2])  # (N, Q, ...)
    corners = bbox_cxcywh_to_xyxy(boxes.float())
    corners = corners * _corners(image_sizes)
    # as anchors of one point
    return Predictions(corners, (scores[..., None, None],), image_sizes)


@box_predictions.register
def _of_rois(
    head: BBoxHead, outputs: Sequence[Any], image_sizes: Tensor
) -> Predictions:
    rois, (scores, deltas, *_) = outputs
    scores = roi_logits(head.loss_cls, scores.flatten(0, -2))  # (R, S)
    boxes = rois[:, 1:]
    coder = getattr(head, 'bbox_coder', None)
    if isinstance(coder, DeltaXYWHBBoxCoder) and head.with_reg:
        label = scores.detach()[:, : head.num_classes].argmax(dim=1)
        deltas = deltas_of_label(deltas.flatten(0, -2), label)
        boxes = coder.decode(boxes.float(), deltas.float())
    num_images = len(image_sizes)
    image = torch.arange(num_images, device=rois.device)[:, None]
    # all RoIs stand in each image's list, which copies nothing
    return Predictions(
        boxes.expand(num_images, -1, -1),
        (scores[..., None, None].expand(num_images, -1, -1, -1, -1),),
        image_sizes,
        owned=rois[:, 0] == image,
    )


def inside_images(
    maps: Sequence[Tensor], strides: Sequence[int], image_sizes: Tensor
) -> Tensor:
    """Which rows (N, M) of score maps lie in their images, not in padding.

    Args:
        maps: Scores of each level, of shape (N, A, S, H, W).
        strides: Pixels from one point of a level to the next.
        image_sizes: Height and width of each image, of shape (N, 2).
    """
    levels = []
    for scores, stride in zip(maps, strides, strict=True):
        padding = padding_mask(image_sizes / stride, scores[:, 0])
        assert padding is not None  # there are extents
        rows = ~padding.permute(0, 2, 3, 1)  # (N, H, W, 1)
        levels.append(rows.expand(-1, -1, -1, scores.shape[1]).flatten(1))
    return torch.cat(levels, dim=1)


def _strides(head: Any) -> list[int]:
    """Strides of a dense head's levels; none where it does not tell."""
    for name in ('prior_generator', 'square_anchor_generator'):
        if hasattr(head, name):
            strides = getattr(head, name).strides
            return [int(max(np.atleast_1d(stride))) for stride in strides]
    return []


def _corners(image_sizes: Tensor) -> Tensor:
    """Width, height, width, height of each image, (N, 1, 4)."""
    return image_sizes.flip(1).repeat(1, 2)[:, None]


def _near(boxes: Tensor, image_sizes: Tensor) -> Tensor:
    """Boxes (N, M, 4), finite: far outside of an image is as good as further.

    An exponential may overflow, and then overlaps and RoIAlign are undefined;
    the student's own losses show it.
    """
    limits = _FAR * _corners(image_sizes)
    boxes = boxes.nan_to_num()
    return torch.minimum(torch.maximum(boxes, -limits), limits)


def prediction_head(detector: BaseDetector) -> Any:
    """The head that says what a detector predicts; None if it has none."""
    if getattr(detector, 'with_roi_head', False):
        return _last(detector.roi_head.bbox_head)
    return getattr(detector, 'bbox_head', None)


def check_predictions(role: str, detector: BaseDetector) -> None:
    """Refuse a detector whose predictions cannot be read."""
    head = prediction_head(detector)
    if isinstance(head, BBoxHead):
        check_loss_cls(role, head.loss_cls, sigmoids=True)
    elif box_predictions.dispatch(type(head)) is _DENSE:
        check_dense_head(head)
        check_dense_boxes(head)


class _AnsweredError(Exception):
    """Ends a pass whose RoI head has said all that is asked for."""


@contextmanager
def observed_predictions(
    detector: BaseDetector, image_sizes: Tensor, *, stop: bool = False
) -> Iterator[Callable[[], Predictions]]:
    """Observe what a detector predicts in a pass.

    With ``stop``, a RoI head is left by an :class:`_AnsweredError` when it has
    scored its RoIs: what follows, NMS and masks, is not asked for.

    Yields:
        What reads the predictions of the last call of the head.
    """
    head = prediction_head(detector)
    assert head is not None  # checked when the place was built
    calls: list[Any] = []
    rois: list[Tensor] = []

    def on_extractor(
        module: nn.Module, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> None:
        rois[:] = [args[1] if len(args) > 1 else kwargs['rois']]

    def on_head(module: nn.Module, args: Any, output: Any) -> None:
        # extractors also serve masks, later in the pass
        calls[:] = [(rois[0], output) if rois else output]
        if stop and rois:
            raise _AnsweredError

    def read() -> Predictions:
        if not calls:
            raise RuntimeError(
                f'the {type(head).__name__} was not called in a pass; this '
                'detector cannot be observed'
            )
        (outputs,) = calls
        if isinstance(detector, DetectionTransformer):
            # queries of denoising stand before those that are matched
            outputs = [
                layers[:, :, -detector.num_queries :] for layers in outputs[:2]
            ]
        predictions = box_predictions(head, outputs, image_sizes)
        boxes = predictions.boxes.float()
        return replace(
            predictions,
            boxes=_near(boxes, image_sizes),
            undefined=boxes.new_zeros(()).masked_fill(
                boxes.isnan().any(), torch.nan
            ),
        )

    with ExitStack() as hooks:
        handle = head.register_forward_hook(on_head)
        hooks.callback(handle.remove)
        if getattr(detector, 'with_roi_head', False):
            extractor = _last(detector.roi_head.bbox_roi_extractor)
            handle = extractor.register_forward_pre_hook(
                on_extractor, with_kwargs=True
            )
            hooks.callback(handle.remove)
        yield read


@torch.no_grad()
def predict_boxes(
    detector: BaseDetector,
    neck_feats: Sequence[Tensor],
    shapes: Sequence[tuple[int, int]],
    batch_shape: tuple[int, ...],
) -> Predictions:
    """Run the heads of a detector in eval mode behind its neck.

    Sizes are heights and widths: of each image, and of the padded batch.
    """
    feats = tuple(neck_feats)
    samples = [
        DetDataSample(
            metainfo=dict(img_shape=shape, batch_input_shape=batch_shape)
        )
        for shape in shapes
    ]
    sizes = sizes_of(shapes, feats[0])
    with observed_predictions(detector, sizes, stop=True) as read:
        if isinstance(detector, DetectionTransformer):
            inputs = detector.forward_transformer(feats, samples)
            detector.bbox_head(**inputs)
        elif getattr(detector, 'with_roi_head', False):
            proposals = detector.rpn_head.predict(
                feats, samples, rescale=False
            )
            if not any(map(len, proposals)):  # no RoI, so no answer
                proposals = [_whole_image(size) for size in sizes]
            with suppress(_AnsweredError):
                detector.roi_head.predict(feats, proposals, samples)
        else:
            detector.bbox_head(feats)
        return read()


def _whole_image(size: Tensor) -> InstanceData:
    """A proposal that is an image of a height and a width, of shape (2,)."""
    return InstanceData(
        bboxes=torch.cat([torch.zeros_like(size), size.flip(0)])[None],
        scores=size.new_ones(1),
        labels=size.new_zeros(1, dtype=torch.long),
    )


def _last(module: nn.Module) -> nn.Module:
    return module[-1] if isinstance(module, nn.ModuleList) else module
