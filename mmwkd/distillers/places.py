"""Build the loss that a config puts at a place."""

from __future__ import annotations

from collections.abc import Mapping

from mmdet.registry import MODELS

from mmwkd.losses import DistillationLoss

# what is compared where
_COMPARES: dict[str, str] = {
    'logit': 'logits',
    'neck': 'features',
    'roi': 'features',
    'box': 'boxes',
}

PLACES = tuple(_COMPARES)

# What leaf configs put a distiller together from, and leave over.
PIECES = ('student', 'teacher', *(f'{place}_loss' for place in PLACES))


def build_loss(place: str, cfg: Mapping[str, object]) -> DistillationLoss:
    """Build a loss and check that it can serve at its place.

    Args:
        place: 'logit', 'neck', 'roi' or 'box'.
        cfg: Config of a registered distillation loss.

    Returns:
        The loss.

    Raises:
        ValueError: If it is no such config, has an unknown option, or
            cannot serve there.
    """
    if not isinstance(cfg, Mapping):
        raise ValueError(f'{place}_loss must be a dict, got {cfg!r}')
    kind = cfg.get('type')
    cls = MODELS.get(kind) if isinstance(kind, str) else kind
    if not isinstance(cls, type) or not issubclass(cls, DistillationLoss):
        raise ValueError(
            f'{place}_loss.type {kind!r} is not a registered distillation loss'
        )
    options = cls.options()
    unknown = sorted(set(cfg) - set(options) - {'type', '_scope_'})
    if unknown:
        raise ValueError(
            f'{place}_loss has the unknown option {unknown[0]!r}'
            f'; {cls.__name__} takes {", ".join(options)}'
        )
    loss = MODELS.build(cfg)
    _check_options(place, loss)
    return loss


def _check_options(place: str, loss: DistillationLoss) -> None:
    if place == 'neck' and loss.background_weight != 1:
        raise ValueError(
            'neck_loss has no RoIs, so it cannot take background_weight'
        )
    if place == 'box' and loss.background_weight != 1:
        raise ValueError(
            'box_loss is of foreground RoIs, so it cannot take '
            'background_weight'
        )
    if place != 'neck' and getattr(loss, 'levels', None) is not None:
        raise ValueError(
            f'{place}_loss has no levels; levels is for neck_loss'
        )
    if loss.reduction != 'mean':
        raise ValueError(
            f"{place}_loss.reduction must be 'mean' in a distiller, "
            f'got {loss.reduction!r}; scale it with loss_weight'
        )
    if loss.compares != _COMPARES[place]:
        raise ValueError(
            f'{place}_loss cannot be a {type(loss).__name__}: '
            'logit_loss compares logits, neck_loss and roi_loss '
            'compare feature maps, box_loss compares boxes'
        )
