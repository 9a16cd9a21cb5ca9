"""The category table and what its figures look like."""

import itertools

import cv2
import numpy as np
import pytest

from studies.toydata.minicoco.categories import (
    CATEGORIES,
    CLASSES,
    FAMILIES,
    Category,
    members,
    palette,
)
from studies.toydata.minicoco.drawing import (
    Canvas,
    Pixels,
    Pose,
    Sprite,
    blend,
    paint_from_hue,
    rectangle,
)
from studies.toydata.minicoco.scene import draw_object
from studies.toydata.minicoco.style import TRAIN_STYLE


def _draw(category: Category, pose: Pose) -> Sprite:
    canvas = Canvas(pose)
    family = category.family
    category.draw(
        canvas, paint_from_hue(family.hue, family.saturation, family.value)
    )
    return canvas.sprite()


def _thumbnail(sprite: Sprite, side: int) -> Pixels:
    """A sprite, scaled to fill a white square (side, side, 3)."""
    paper = np.full_like(sprite.colour, 255)
    return cv2.resize(
        blend(sprite.colour, sprite.alpha, paper),
        (side, side),
        interpolation=cv2.INTER_AREA,
    )


def _mean_colour(rng: np.random.Generator, category: Category) -> np.ndarray:
    sprite = draw_object(rng, category, TRAIN_STYLE, size=24)
    return sprite.colour[sprite.mask].mean(axis=0)  # (3,)


def test_table_has_six_families_of_four_with_unique_names():
    assert len(CLASSES) == len(set(CLASSES)) == 24
    assert len({family.name for family in FAMILIES}) == 6
    assert [len(members(family)) for family in FAMILIES] == [4] * 6


def test_palette_has_one_distinct_colour_per_category():
    assert len(set(palette())) == len(CATEGORIES)
    np.testing.assert_array_equal(np.clip(palette(), 0, 255), palette())


@pytest.mark.parametrize('category', CATEGORIES, ids=CLASSES)
def test_figure_fills_its_unit_frame(category):
    height, width = _draw(category, Pose(size=80)).mask.shape

    # One pixel of outline and one of rounding on either side.
    assert 0.9 * 80 <= max(height, width) <= 80 + 4
    assert min(height, width) >= 0.4 * 80


def test_mirrored_pose_mirrors_the_figure():
    church = CATEGORIES[CLASSES.index('church')]
    plain, mirrored = (
        _thumbnail(_draw(church, Pose(size=60, mirrored=flag)), 30)
        for flag in (False, True)
    )

    # The rasteriser is not symmetric to the last subpixel, hence not 0.
    assert cv2.absdiff(plain[:, ::-1], mirrored).mean() < 4
    assert cv2.absdiff(plain, mirrored).mean() > 20


def test_members_of_a_family_differ_at_forty_pixels():
    for family in FAMILIES:
        pictures = [
            _thumbnail(_draw(category, Pose(size=40)), 40).astype(float)
            for category in members(family)
        ]
        for one, other in itertools.combinations(pictures, 2):
            assert np.abs(one - other).mean() > 15


def test_mean_colour_is_nearest_to_the_rest_of_the_family():
    rng = np.random.default_rng(0)
    colours = {
        category: np.mean(
            [_mean_colour(rng, category) for _ in range(20)], axis=0
        )
        for category in CATEGORIES
    }
    for category, colour in colours.items():
        distances = {
            family.name: np.linalg.norm(
                colour
                - np.mean(
                    [
                        colours[member]
                        for member in members(family)
                        if member != category
                    ],
                    axis=0,
                )
            )
            for family in FAMILIES
        }
        assert min(distances, key=distances.get) == category.family.name


def test_rectangle_covers_the_pixels_it_should():
    canvas = Canvas(Pose(size=20))
    canvas.fill(rectangle(-0.5, -0.2, 0.5, 0.2), colour=(10, 20, 30))
    sprite = canvas.sprite()

    # The rasteriser includes the pixels on both edges: one subpixel more.
    np.testing.assert_allclose(
        sprite.alpha.sum() / 255, 10.25 * 4.25, rtol=1e-3
    )
    assert sprite.mask.sum() == 10 * 4
    np.testing.assert_array_equal(sprite.colour[2, 2], (10, 20, 30))


def test_aspect_stretches_and_keeps_the_area():
    canvas = Canvas(Pose(size=40, aspect=2.0))
    canvas.fill(rectangle(-1, -1, 1, 1), colour=(255, 0, 0))
    height, width = canvas.sprite().mask.shape

    np.testing.assert_allclose(width / height, 2.0, rtol=0.1)
    np.testing.assert_allclose(height * width, 40 * 40, rtol=0.1)


def test_blend_is_exact_where_opaque_and_where_transparent():
    below = np.full((1, 2, 3), 77, dtype=np.uint8)
    colour = np.array([[[9, 8, 7], [0, 0, 0]]], dtype=np.uint8)
    alpha = np.array([[255, 0]], dtype=np.uint8)

    np.testing.assert_array_equal(
        blend(colour, alpha, below), [[[9, 8, 7], [77, 77, 77]]]
    )
