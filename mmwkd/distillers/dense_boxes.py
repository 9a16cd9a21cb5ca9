"""How the boxes of a dense head are coded.

Shapes: N images, A anchors per point, (H, W) a level's points, D numbers that
code a box, B priors of a batch.
"""

from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import Any

import torch
from mmdet.models.dense_heads import (
    AnchorFreeHead,
    AnchorHead,
    AutoAssignHead,
    CenterNetUpdateHead,
    FCOSHead,
    FoveaHead,
    GFLHead,
    GuidedAnchorHead,
    RepPointsHead,
    SABLRetinaHead,
    TOODHead,
    VFNetHead,
    YOLOV3Head,
    YOLOXHead,
)
from torch import Tensor, nn


@singledispatch
def dense_boxes(head: nn.Module, outputs: Sequence[Any]) -> list[Tensor]:
    """Read the boxes out of what a dense head returned.

    Args:
        head: The dense head; its type chooses the function.
        outputs: What ``head(feats)`` returned, in either mode.

    Returns:
        Corners in pixels for each level, of shape (N, H * W * A, 4).

    Raises:
        ValueError: If no function is registered for heads of this type.
    """
    raise ValueError(
        f'cannot compare heads of type {type(head).__name__} box by box: how '
        'their boxes are coded is not defined; use neck_loss, or register a '
        'function with mmwkd.distillers.dense_boxes.register'
    )


_UNKNOWN = dense_boxes.dispatch(object)


@dense_boxes.register(AnchorHead)
@dense_boxes.register(AnchorFreeHead)
@dense_boxes.register(AutoAssignHead)  # an FCOS head, but scaled always
def _coded(head: Any, outputs: Sequence[Any]) -> list[Tensor]:
    return _decode(head, outputs[1])


@dense_boxes.register
def _refined(head: VFNetHead, outputs: Sequence[Any]) -> list[Tensor]:
    return _decode(head, outputs[-1])


@dense_boxes.register(CenterNetUpdateHead)
@dense_boxes.register(FCOSHead)
def _in_strides(head: Any, outputs: Sequence[Any]) -> list[Tensor]:
    scaled = head.training and getattr(head, 'norm_on_bbox', True)
    strides = head.strides if scaled else [1] * len(head.strides)
    return _decode(
        head,
        [
            distances * stride
            for distances, stride in zip(outputs[1], strides, strict=True)
        ],
    )


@dense_boxes.register
def _integrated(head: GFLHead, outputs: Sequence[Any]) -> list[Tensor]:
    strides = iter(head.prior_generator.strides)

    def decode(anchors: Tensor, bins: Tensor) -> Tensor:
        distances = head.integral(bins) * next(strides)[0]
        return head.bbox_coder.decode(head.anchor_center(anchors), distances)

    return _decode(head, outputs[1], decode)


@dense_boxes.register
def _by_edges(head: FoveaHead, outputs: Sequence[Any]) -> list[Tensor]:
    lengths = iter(head.base_edge_list)
    return _decode(
        head,
        outputs[1],
        lambda points, edges: head._bbox_decode(
            points, edges, next(lengths), (torch.inf, torch.inf)
        ),
    )


@dense_boxes.register
def _around_points(
    head: RepPointsHead, outputs: Sequence[Any]
) -> list[Tensor]:
    strides = iter(head.point_strides)
    boxes = outputs[-1]
    if head.training:
        boxes = [head.points2bbox(points) for points in boxes]
    return _decode(
        head,
        boxes,
        lambda points, offsets: head._bbox_decode(
            points, offsets, next(strides), (torch.inf, torch.inf)
        ),
    )


@dense_boxes.register
def _decoded(head: TOODHead, outputs: Sequence[Any]) -> list[Tensor]:
    return [
        _per_prior(boxes, 4) * stride[0]
        for boxes, stride in zip(
            outputs[1], head.prior_generator.strides, strict=True
        )
    ]


@dense_boxes.register
def _in_buckets(head: SABLRetinaHead, outputs: Sequence[Any]) -> list[Tensor]:
    preds = [torch.cat(pred, dim=1) for pred in outputs[1]]
    return _decode(
        head,
        preds,
        lambda anchors, pred: head.bbox_coder.decode(
            anchors, [part.contiguous() for part in pred.chunk(2, dim=1)]
        )[0],
        generator=head.square_anchor_generator,
    )


@dense_boxes.register
def _yolox(head: YOLOXHead, outputs: Sequence[Any]) -> list[Tensor]:
    priors = head.prior_generator.grid_priors(
        [pred.shape[-2:] for pred in outputs[1]],
        device=outputs[1][0].device,
        with_stride=True,
    )
    return [
        head._bbox_decode(points, _per_prior(pred, 4))
        for points, pred in zip(priors, outputs[1], strict=True)
    ]


@dense_boxes.register
def _yolo_v3(head: YOLOV3Head, outputs: Sequence[Any]) -> list[Tensor]:
    strides = iter(head.featmap_strides)

    def decode(anchors: Tensor, pred: Tensor) -> Tensor:
        coded = torch.cat([pred[:, :2].sigmoid(), pred[:, 2:4]], dim=1)
        return head.bbox_coder.decode(anchors, coded, next(strides))

    return _decode(head, outputs[0], decode)


# it inherits from a kind above, but chooses its anchors itself
dense_boxes.register(GuidedAnchorHead, _UNKNOWN)


def check_dense_boxes(head: nn.Module | None) -> None:
    """Refuse a dense head whose boxes cannot be read."""
    if dense_boxes.dispatch(type(head)) is _UNKNOWN:
        _UNKNOWN(head, ())


def _decode(
    head: Any,
    preds: Sequence[Tensor],
    decode: Callable[[Tensor, Tensor], Tensor] | None = None,
    *,
    generator: Any = None,
) -> list[Tensor]:
    """Boxes from codes of priors, with a head's own generator and coder.

    ``decode`` makes boxes (B, 4) of priors (B, ...) and codes (B, D), level by
    level.
    """
    decode = decode or head.bbox_coder.decode
    generator = generator or head.prior_generator
    priors = generator.grid_priors(
        [pred.shape[-2:] for pred in preds], device=preds[0].device
    )
    boxes = []
    for prior, pred in zip(priors, preds, strict=True):
        codes = _per_prior(pred, pred[0].numel() // len(prior))
        decoded = decode(prior.repeat(len(pred), 1), codes.flatten(0, 1))
        boxes.append(decoded.unflatten(0, codes.shape[:2]))
    return boxes


def _per_prior(pred: Tensor, width: int) -> Tensor:
    """Turn (N, A * D, H, W) into (N, H * W * A, D), mmdet's order."""
    pred = pred.float().permute(0, 2, 3, 1)
    return pred.reshape(len(pred), -1, width)
