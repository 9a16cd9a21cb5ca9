"""Build the loss that a distiller's config names."""

from collections.abc import Mapping
from typing import Any

from mmdet.registry import MODELS

from mmwkd.losses.base import DistillationLoss


def build_loss(
    entry: str, cfg: Mapping[str, Any], compares: str
) -> DistillationLoss:
    """Build the loss of a config entry and check that it can serve.

    Args:
        entry: Name of the config entry, such as 'logit_loss'.
        cfg: Config of a registered distillation loss.
        compares: What it is to compare, such as 'logits'.
    """
    if not isinstance(cfg, Mapping):
        raise ValueError(f'{entry} must be a dict, got {cfg!r}')
    options = dict(cfg)
    kind = options.pop('type', None)
    options.pop('_scope_', None)
    cls = MODELS.get(kind) if isinstance(kind, str) else kind
    if not isinstance(cls, type) or not issubclass(cls, DistillationLoss):
        raise ValueError(
            f'{entry}.type {kind!r} is not a registered distillation loss'
        )
    known = cls.options()
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(
            f'{entry} has the unknown option {unknown[0]!r}; '
            f'{cls.__name__} takes {", ".join(known)}'
        )
    # not through the registry, which looks in the scope of the student
    loss = cls(**{**cls.defaults_of(entry), **options})
    if loss.reduction != 'mean':
        raise ValueError(
            f"{entry}.reduction must be 'mean' in a distiller, got "
            f'{loss.reduction!r}; scale it with loss_weight'
        )
    if loss.compares != compares:
        raise ValueError(
            f'{entry} cannot be a {cls.__name__}, which compares '
            f'{loss.compares}: {entry} compares {compares}'
        )
    return loss
