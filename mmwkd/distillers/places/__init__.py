"""Places at which a student is compared with its teacher.

A place has a file of its own here, or elsewhere: whatever is registered with
:func:`register_place` can stand in a distiller's config.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from mmwkd.distillers.alignment import DetectorPair
from mmwkd.distillers.places.base import (
    LogitPlace,
    LogitRows,
    Needs,
    Place,
    Step,
    Terms,
)
from mmwkd.distillers.places.box import LocationBoxPlace, RoIBoxPlace
from mmwkd.distillers.places.box_logits import BoxLogitPlace
from mmwkd.distillers.places.location_logits import LocationLogitPlace
from mmwkd.distillers.places.matched_logits import MatchedLogitPlace
from mmwkd.distillers.places.neck import NeckPlace
from mmwkd.distillers.places.roi import RoIPlace
from mmwkd.distillers.places.roi_logits import RoILogitPlace
from mmwkd.losses.build import build_loss

__all__ = [
    'LogitPlace',
    'LogitRows',
    'Needs',
    'Place',
    'Step',
    'Terms',
    'build_places',
    'entries',
    'pieces',
    'register_place',
]

_Kind = TypeVar('_Kind', bound=type[Place])

_KINDS: list[type[Place]] = []


def register_place(kind: _Kind) -> _Kind:
    """Let configs of distillers name a place; a class decorator.

    Of several kinds with the same entry, the first registered that suits a
    pair of detectors is built for it.
    """
    _KINDS.append(kind)
    return kind


for _kind in (
    LocationLogitPlace,
    RoILogitPlace,
    BoxLogitPlace,
    MatchedLogitPlace,
    NeckPlace,
    RoIPlace,
    RoIBoxPlace,
    LocationBoxPlace,
):
    register_place(_kind)


def pieces() -> tuple[str, ...]:
    """What leaf configs put a distiller together from, and leave over."""
    return ('student', 'teacher', *_loss_names())


def _loss_names() -> list[str]:
    return list(dict.fromkeys(f'{kind.entry}_loss' for kind in _KINDS))


def entries() -> dict[str, type[Place] | None]:
    """What a distiller's config may have beside the two detectors.

    Names of losses, and of options of places with the kind that takes them.
    """
    losses: dict[str, type[Place] | None] = dict.fromkeys(_loss_names())
    return losses | {name: kind for kind in _KINDS for name in kind.options()}


def build_places(
    config: Mapping[str, Any], pair: DetectorPair
) -> dict[str, Place]:
    """Build the places that a distiller's config names, by their entries.

    A loss of None is as if it were absent.

    Raises:
        ValueError: If no loss is configured, an option is of no place that
            is, or the detectors cannot be compared there.
    """
    places = {}
    for entry in dict.fromkeys(kind.entry for kind in _KINDS):
        cfg = config.get(f'{entry}_loss')
        if cfg is not None:
            kind = _choose(entry, pair)
            options = {
                name: config[name] for name in kind.options() if name in config
            }
            loss = build_loss(f'{entry}_loss', cfg, kind.compares)
            places[entry] = kind(loss, pair, **options)
    if not places:
        names = _loss_names()
        raise ValueError(
            'no distillation loss is configured: set '
            f'{", ".join(names[:-1])} or {names[-1]}'
        )
    _refuse_idle_options(config, places)
    return places


def _choose(entry: str, pair: DetectorPair) -> type[Place]:
    kinds = [kind for kind in _KINDS if kind.entry == entry]
    return next((kind for kind in kinds if kind.suits(pair)), kinds[-1])


def _refuse_idle_options(
    config: Mapping[str, Any], places: Mapping[str, Place]
) -> None:
    """Refuse options of places that are not compared."""
    read = {name for place in places.values() for name in place.options()}
    for name, kind in entries().items():
        if kind is None or name in read or name not in config:
            continue
        if config[name] != kind.options()[name]:
            takers = [each.title for each in _KINDS if name in each.options()]
            raise ValueError(
                f'{name} is set, but there is no {" or ".join(takers)} to '
                'use it'
            )
