"""Compose one image from drawings of a split's vendors.

As in minicoco, a scene is a function of the seed, the split and the index of
the image alone. All splits share one style: vendors are all that differs.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from studies.toydata.iconcoco.categories import (
    CATEGORIES,
    SPLIT_VENDORS,
    drawn_by,
)
from studies.toydata.iconcoco.icons import Icon, IconSet
from studies.toydata.iconcoco.render import Tint, render_icon
from studies.toydata.minicoco.background import PATTERNS, draw_background
from studies.toydata.minicoco.drawing import Pose, Sprite
from studies.toydata.minicoco.scene import Layers, Scene, corner_candidates
from studies.toydata.minicoco.style import TRAIN_STYLE

STYLE = replace(
    TRAIN_STYLE,
    backgrounds=tuple(PATTERNS),
    background_saturation=(0.04, 0.4),
    background_value=(0.5, 1.0),
    num_clutter=(0, 8),
    object_size=(0.14, 0.62),
    crowding=0.3,
    min_visible=0.6,
    hue_jitter=8.0,
)

# Fork and knife come side by side in one drawing. At this fraction of the
# width no vendor in the mapping has a pixel of both.
_BETWEEN = 0.53
_PARTS = {'left': (0.0, _BETWEEN), 'right': (_BETWEEN, 1.0)}

IconSets = Mapping[str, IconSet]


def find_icon(icon_sets: IconSets, vendor: str, name: str) -> Icon:
    """A drawing by its name in the mapping: 'fork', 'fork-and-knife/left'."""
    base, _, part = name.partition('/')
    icon = icon_sets[vendor][base]
    return icon.part(*_PARTS[part]) if part else icon


def draw_scene(
    icon_sets: IconSets,
    split: str,
    image_index: int,
    *,
    image_size: int = 192,
    seed: int = 0,
) -> Scene:
    """Draw image number ``image_index`` of a split.

    The first object's category runs through the table, so that every category
    that the vendors of the split draw is among the first images.

    Args:
        icon_sets: Vendor -> drawings.
        split: A key of ``SPLIT_VENDORS``.
        image_index: Number of the image, from 0.
        image_size: Side, pixels.
        seed: Seed of the whole dataset.

    Returns:
        The scene, with at least one object. An object that would hide too
        much of another, or be hidden too much, is not placed.
    """
    stream = list(SPLIT_VENDORS).index(split)
    rng = np.random.default_rng([seed, stream, image_index])
    categories = drawn_by(SPLIT_VENDORS[split])
    layers = Layers(draw_background(rng, STYLE, image_size))
    for position in range(rng.integers(*STYLE.num_objects, endpoint=True)):
        category_index = categories[
            rng.integers(len(categories))
            if position
            else image_index % len(categories)
        ]
        size = image_size * math.exp(rng.uniform(*np.log(STYLE.object_size)))
        sprite = draw_object(rng, icon_sets, split, category_index, size=size)
        for corner in corner_candidates(rng, STYLE, layers, sprite):
            if layers.add(sprite, corner, category_index, STYLE.min_visible):
                break
    return layers.scene()


def draw_object(
    rng: np.random.Generator,
    icon_sets: IconSets,
    split: str,
    category_index: int,
    *,
    size: float,
) -> Sprite:
    """Draw a category in a random pose by a random vendor of a split."""
    icons = CATEGORIES[category_index].icons
    vendors = [v for v in SPLIT_VENDORS[split] if v in icons]
    vendor = vendors[rng.integers(len(vendors))]
    name = icons[vendor][rng.integers(len(icons[vendor]))]
    return render_icon(
        find_icon(icon_sets, vendor, name),
        Pose(
            size=size,
            angle=rng.uniform(-STYLE.angle, STYLE.angle),
            aspect=rng.uniform(*STYLE.aspect),
            mirrored=bool(rng.integers(2)),
            phase=(rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5)),
        ),
        Tint(
            hue=rng.uniform(-STYLE.hue_jitter, STYLE.hue_jitter),
            saturation=rng.uniform(*STYLE.shade),
            value=rng.uniform(*STYLE.shade),
        ),
    )
