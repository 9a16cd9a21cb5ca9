"""How the class scores of a head become logits of categories.

Everything that WKD-L and its rivals know of a detector's family is here: a
head of another kind registers its own function, see docs/extending.md.

Shapes: N images, A anchors per point, (H, W) a level's points, R RoIs or
locations, C foreground categories, K = C + 1 with background last, S scores
of a head, C or K.
"""

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import (
    AnchorFreeHead,
    AnchorHead,
    AutoAssignHead,
    DETRHead,
    GuidedAnchorHead,
    SABLRetinaHead,
    TOODHead,
    YOLOV3Head,
    YOLOXHead,
)
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.dense_heads.maskformer_head import MaskFormerHead
from mmdet.models.losses import SeesawLoss
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from torch import Tensor, nn

from mmwkd.functional import append_background, joint_logit


@singledispatch
def dense_scores(head: nn.Module, outputs: Sequence[Any]) -> list[Tensor]:
    """Read the class scores out of what a dense head returned.

    Args:
        head: The dense head; its type chooses the function.
        outputs: What ``head(feats)`` returned.

    Returns:
        Logits of each level, of shape (N, A, S, H, W): S = C for independent
        sigmoids, S = K for a softmax with background last.

    Raises:
        ValueError: If no function is registered for heads of this type.
    """
    raise ValueError(
        f'cannot compare heads of type {type(head).__name__}: '
        'how its scores become logits at common locations is not defined; '
        'use neck_loss, or register a function with '
        'mmwkd.distillers.dense_scores.register'
    )


@dense_scores.register(AnchorHead)
@dense_scores.register(AnchorFreeHead)
@dense_scores.register(SABLRetinaHead)
def _first_output(head: BaseDenseHead, outputs: Sequence[Any]) -> list[Tensor]:
    return [_per_anchor(scores, _width(head)) for scores in outputs[0]]


# unlike in FCOS, the class scores of AutoAssign are only trained in the
# product with its centerness
@dense_scores.register(AutoAssignHead)
@dense_scores.register(YOLOXHead)
def _class_times_objectness(
    head: BaseDenseHead, outputs: Sequence[Any]
) -> list[Tensor]:
    scores, _, objectness = outputs
    return [
        joint_logit(_per_anchor(a, _width(head)), _per_anchor(b, 1))
        for a, b in zip(scores, objectness, strict=True)
    ]


@dense_scores.register
def _yolo_v3(head: YOLOV3Head, outputs: Sequence[Any]) -> list[Tensor]:
    # box, objectness and classes of an anchor in one block of channels
    blocks = [_per_anchor(pred, head.num_attrib) for pred in outputs[0]]
    return [joint_logit(block[:, :, 5:], block[:, :, 4:5]) for block in blocks]


@dense_scores.register
def _probabilities(head: TOODHead, outputs: Sequence[Any]) -> list[Tensor]:
    return [
        # the clamp keeps saturated scores and their gradients finite
        _per_anchor(scores, _width(head)).float().logit(eps=1e-6)
        for scores in outputs[0]
    ]


# they inherit from the above, but choose their locations themselves
_UNKNOWN = dense_scores.dispatch(object)
for _kind in (GuidedAnchorHead, MaskFormerHead):
    dense_scores.register(_kind, _UNKNOWN)


def check_dense_head(head: nn.Module | None) -> None:
    """Refuse a head (None if there is none) whose scores cannot be read."""
    if head is None:
        raise ValueError(
            'a detector without a head of boxes cannot be compared by what '
            'it predicts; use neck_loss'
        )
    if dense_scores.dispatch(type(head)) is _UNKNOWN:
        _UNKNOWN(head, ())


def _width(head: BaseDenseHead) -> int:
    return getattr(head, 'cls_out_channels', head.num_classes)


def _per_anchor(scores: Tensor, width: int) -> Tensor:
    """View (N, A * width, H, W) as (N, A, width, H, W)."""
    return scores.unflatten(1, (-1, width))


def category_logits(scores: Tensor, num_classes: int) -> Tensor:
    """Logits (..., K) of what a head scores, (..., S).

    Independent sigmoids get a background of logit 0.
    """
    if scores.shape[-1] > num_classes:
        return scores
    return append_background(scores)


@singledispatch
def roi_logits(loss_cls: nn.Module, scores: Tensor) -> Tensor:
    """Turn the class scores of a box head into logits.

    Args:
        loss_cls: Classification loss of the head; its type chooses the
            function.
        scores: What the box head returned first, of shape (R, S).

    Returns:
        Logits whose softmax the head predicts with, of shape (R, K).
    """
    return scores


@roi_logits.register
def _seesaw(loss_cls: SeesawLoss, scores: Tensor) -> Tensor:
    # a softmax over C classes, times one over object and no object
    classes = F.log_softmax(scores[:, :-2].float(), dim=1)
    objectness = F.log_softmax(scores[:, -2:].float(), dim=1)
    return torch.cat([classes + objectness[:, :1], objectness[:, 1:]], dim=1)


def check_loss_cls(
    role: str, loss_cls: nn.Module, *, sigmoids: bool = False
) -> None:
    """Refuse a box head whose scores cannot be turned into logits.

    With ``sigmoids``, independent sigmoids will do.
    """
    if roi_logits.dispatch(type(loss_cls)) is not roi_logits.dispatch(object):
        return
    independent = getattr(loss_cls, 'use_sigmoid', False)
    own = getattr(loss_cls, 'custom_activation', False)
    if own or (independent and not sigmoids):
        raise ValueError(
            f"the {role}'s box head is trained with "
            f'{type(loss_cls).__name__}, not with a softmax over categories '
            'and background; logit_loss and roi_loss work for '
            'CrossEntropyLoss(use_sigmoid=False), SeesawLoss, and losses '
            'registered with mmwkd.distillers.roi_logits.register'
        )


def classifier_rows(head: nn.Module) -> Tensor | None:
    """Weights with which a box or dense head scores each category.

    Returns:
        One row per category, of shape (S, D), where the weights of all
        anchors, levels and kernel positions of a dense head stand side by
        side; None if no such linear layer is found.
    """
    if isinstance(head, BBoxHead):
        classifier = getattr(head, 'fc_cls', None)
        if not isinstance(classifier, nn.Linear):
            return None
        rows = classifier.weight
        if isinstance(head.loss_cls, SeesawLoss):
            # the scores behind C classes say object and no object
            rows = torch.cat([rows[:-2], rows[-1:]])
        return rows
    if isinstance(head, DETRHead):
        if not hasattr(head, 'cls_branches'):
            return head.fc_cls.weight
        # one behind those of the decoder's layers serves the encoder
        return head.cls_branches[-2 if head.as_two_stage else -1].weight
    if isinstance(head, YOLOV3Head):
        # box and objectness stand before the classes of each anchor
        blocks = [
            pred.weight.unflatten(0, (-1, head.num_attrib))[:, 5:]
            for pred in head.convs_pred
        ]
        return torch.cat([x.transpose(0, 1).flatten(1) for x in blocks], dim=1)
    width = _width(head)
    anchors = getattr(head, 'num_base_priors', 1)  # a list in SSD, by level
    channels = {width * count for count in np.atleast_1d(anchors)}
    blocks = [
        module.weight.unflatten(0, (-1, width)).transpose(0, 1).flatten(1)
        for name, module in head.named_modules()
        if isinstance(module, nn.Conv2d)
        and 'cls' in name.rstrip('.0123456789').rpartition('.')[2]
        and module.out_channels in channels
    ]
    return torch.cat(blocks, dim=1) if blocks else None
