"""Compose one image: a background and objects that may cover each other.

S is the side of the image in pixels. A scene is a function of the seed, the
split and the index of the image alone, so that image 7 is the same whether 8
or 8000 are drawn, in any order.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from studies.toydata.minicoco.background import draw_background
from studies.toydata.minicoco.categories import CATEGORIES, Category
from studies.toydata.minicoco.drawing import (
    Canvas,
    Mask,
    Pixels,
    Pose,
    Sprite,
    blend,
    paint_from_hue,
)
from studies.toydata.minicoco.style import SPLITS, SplitStyle

# Tries to find a place for one object before the scene goes without it.
_MAX_TRIES = 20


class SceneObject(NamedTuple):
    """One object as it ended up in the image."""

    category_index: int  # into CATEGORIES
    mask: Mask  # (S, S), the visible pixels
    visible: float  # part of the drawn figure that these pixels are


class Scene(NamedTuple):
    """One image with its objects, the hindmost first."""

    image: Pixels  # (S, S, 3), RGB
    objects: tuple[SceneObject, ...]


def draw_scene(
    split: str, image_index: int, *, image_size: int = 128, seed: int = 0
) -> Scene:
    """Draw image number ``image_index`` of a split.

    The first object's category runs through the table, so that any
    ``len(CATEGORIES)`` images in a row show every category.

    Args:
        split: A key of ``SPLITS``.
        image_index: Number of the image, from 0.
        image_size: S, pixels.
        seed: Seed of the whole dataset.

    Returns:
        The scene, with at least one object.
    """
    rng = np.random.default_rng([seed, list(SPLITS).index(split), image_index])
    return compose_scene(
        rng,
        SPLITS[split],
        image_size=image_size,
        first_category=image_index % len(CATEGORIES),
    )


def compose_scene(
    rng: np.random.Generator,
    style: SplitStyle,
    *,
    image_size: int,
    first_category: int,
) -> Scene:
    """Draw a scene in a style; see ``draw_scene``."""
    layers = Layers(draw_background(rng, style, image_size))
    num_objects = rng.integers(*style.num_objects, endpoint=True)
    for position in range(num_objects):
        category_index = (
            int(rng.integers(len(CATEGORIES))) if position else first_category
        )
        size = image_size * math.exp(rng.uniform(*np.log(style.object_size)))
        sprite = draw_object(rng, CATEGORIES[category_index], style, size=size)
        for corner in corner_candidates(rng, style, layers, sprite):
            if layers.add(sprite, corner, category_index, style.min_visible):
                break
    return layers.scene()


def draw_object(
    rng: np.random.Generator,
    category: Category,
    style: SplitStyle,
    *,
    size: float,
) -> Sprite:
    """Draw one category in a random pose and shade of a style.

    Args:
        rng: Source of all choices.
        category: What to draw.
        style: Ranges of pose and shade.
        size: Side of the unit frame in pixels.
    """
    pose = Pose(
        size=size,
        angle=rng.uniform(-style.angle, style.angle),
        aspect=rng.uniform(*style.aspect),
        mirrored=bool(rng.integers(2)),
        phase=(rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5)),
        # A thinner outline would fade on the smallest objects.
        line_width=max(0.6, size * rng.uniform(*style.line_width)),
    )
    family = category.family
    paint = paint_from_hue(
        family.hue
        + style.hue_shift
        + rng.uniform(-style.hue_jitter, style.hue_jitter),
        family.saturation * rng.uniform(*style.shade),
        family.value * rng.uniform(*style.shade),
    )
    canvas = Canvas(pose)
    category.draw(canvas, paint)
    return canvas.sprite()


@dataclass
class _Layer:
    category_index: int
    mask: Mask  # (S, S), the visible pixels so far
    drawn_area: int  # pixels of the whole figure, beyond the border too
    centre: tuple[float, float]  # of the sprite, pixels

    def visible(self, mask: Mask) -> float:
        return int(np.count_nonzero(mask)) / self.drawn_area


class Layers:
    """The image so far, and the visible part of each object."""

    def __init__(self, background: Pixels) -> None:
        self._image = background
        self._layers: list[_Layer] = []

    @property
    def image_size(self) -> int:
        return self._image.shape[0]

    @property
    def centres(self) -> list[tuple[float, float]]:
        return [layer.centre for layer in self._layers]

    def add(
        self,
        sprite: Sprite,
        corner: tuple[int, int],
        category_index: int,
        min_visible: float,
    ) -> bool:
        """Put a sprite on top, unless it hides too much of any object.

        Args:
            sprite: Figure (H, W).
            corner: Its top left pixel (x, y); may lie outside the image.
            category_index: Index into CATEGORIES.
            min_visible: Lower bound on the visible part of each object.

        Returns:
            Whether the sprite was added.
        """
        height, width = sprite.alpha.shape
        x, y = corner
        left, top = max(x, 0), max(y, 0)
        right = min(x + width, self.image_size)
        bottom = min(y + height, self.image_size)
        inside = (slice(top - y, bottom - y), slice(left - x, right - x))
        target = (slice(top, bottom), slice(left, right))

        covers = np.zeros((self.image_size, self.image_size), dtype=np.bool_)
        covers[target] = sprite.mask[inside]
        added = _Layer(
            category_index=category_index,
            mask=covers,
            drawn_area=int(np.count_nonzero(sprite.mask)),
            centre=(x + width / 2, y + height / 2),
        )
        remaining = [layer.mask & ~covers for layer in self._layers]
        after = zip([*self._layers, added], [*remaining, covers], strict=True)
        if any(layer.visible(mask) < min_visible for layer, mask in after):
            return False

        for layer, mask in zip(self._layers, remaining, strict=True):
            layer.mask = mask
        self._layers.append(added)
        self._image[target] = blend(
            sprite.colour[inside], sprite.alpha[inside], self._image[target]
        )
        return True

    def scene(self) -> Scene:
        return Scene(
            image=self._image,
            objects=tuple(
                SceneObject(
                    layer.category_index,
                    layer.mask,
                    layer.visible(layer.mask),
                )
                for layer in self._layers
            ),
        )


def corner_candidates(
    rng: np.random.Generator,
    style: SplitStyle,
    layers: Layers,
    sprite: Sprite,
) -> Iterator[tuple[int, int]]:
    """Places to try for a sprite's top left pixel (x, y)."""
    extent = np.array(sprite.alpha.shape[::-1])  # width, height
    # The first object is not cut, so that it is sure to find a place.
    max_cut = style.max_cut if layers.centres else 0.0
    lowest = -max_cut * extent
    highest = layers.image_size - extent - lowest
    for _ in range(_MAX_TRIES):
        corner = rng.uniform(lowest, highest)
        if layers.centres and rng.uniform() < style.crowding:
            neighbour = layers.centres[rng.integers(len(layers.centres))]
            near = neighbour + rng.uniform(-1, 1, size=2) * extent
            corner = np.clip(near - extent / 2, lowest, highest)
        x, y = np.rint(corner)
        yield int(x), int(y)
