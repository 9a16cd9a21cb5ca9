"""Scenes: repeatable, boxes tight, objects seen."""

from dataclasses import replace

import numpy as np
import pytest

from studies.toydata.iconcoco import scene as scene_module
from studies.toydata.iconcoco.categories import (
    CATEGORIES,
    SPLIT_VENDORS,
    drawn_by,
)
from studies.toydata.iconcoco.icons import IconSet
from studies.toydata.iconcoco.scene import draw_scene, find_icon
from studies.toydata.minicoco.coco import tight_box


def test_scene_depends_on_seed_split_and_index_alone(icon_sets):
    first = draw_scene(icon_sets, 'train', 7, image_size=96, seed=1)
    draw_scene(icon_sets, 'val', 3, image_size=96, seed=1)
    again = draw_scene(icon_sets, 'train', 7, image_size=96, seed=1)

    np.testing.assert_array_equal(first.image, again.image)
    for one, other in zip(first.objects, again.objects, strict=True):
        assert one.category_index == other.category_index
        np.testing.assert_array_equal(one.mask, other.mask)


@pytest.mark.parametrize(
    ('split', 'index', 'seed'),
    [('val', 7, 1), ('train', 8, 1), ('train', 7, 2)],
)
def test_other_scenes_differ(icon_sets, split, index, seed):
    one = draw_scene(icon_sets, 'train', 7, image_size=96, seed=1)
    other = draw_scene(icon_sets, split, index, image_size=96, seed=seed)

    # Not even the backgrounds agree.
    assert np.mean(one.image == other.image) < 0.2


@pytest.mark.parametrize('split', SPLIT_VENDORS)
def test_first_objects_run_through_the_drawn_categories(icon_sets, split):
    drawn = drawn_by(SPLIT_VENDORS[split])
    scenes = [
        draw_scene(icon_sets, split, index, image_size=64)
        for index in range(len(drawn))
    ]

    assert [s.objects[0].category_index for s in scenes] == drawn
    for scene in scenes:
        assert all(thing.category_index in drawn for thing in scene.objects)


def test_a_split_uses_the_drawings_of_its_vendors_alone(icon_sets):
    for split, vendors in SPLIT_VENDORS.items():
        own = {vendor: icon_sets[vendor] for vendor in vendors}
        for index in range(20):  # KeyError if it looked anywhere else
            draw_scene(own, split, index, image_size=64)


def test_enough_of_every_object_is_seen(icon_sets):
    for index in range(60):
        objects = draw_scene(icon_sets, 'val', index, image_size=96).objects
        covered = sum(thing.mask.astype(int) for thing in objects)
        assert covered.max() == 1  # no pixel belongs to two objects
        for thing in objects:
            assert thing.visible >= scene_module.STYLE.min_visible


def test_boxes_are_tight_around_what_is_drawn(monkeypatch):
    """A pure colour that no background has is found again in the image."""
    style = replace(
        scene_module.STYLE,
        num_objects=(1, 1),
        num_clutter=(0, 0),
        background_saturation=(0.0, 0.3),
        hue_jitter=0.0,
        shade=(1.0, 1.0),
    )
    monkeypatch.setattr(scene_module, 'STYLE', style)
    body = '<path fill="#ff00ff" d="M4 2h4v10h9v6H4z"/>'
    icons = {
        name.partition('/')[0]: {'body': body, 'width': 20, 'height': 20}
        for category in CATEGORIES
        for name in category.icons['twemoji']
    }
    icon_sets = {'twemoji': IconSet('twemoji', {'icons': icons})}
    for index in range(len(CATEGORIES)):
        scene = draw_scene(icon_sets, 'val', index, image_size=128)
        (thing,) = scene.objects
        rows, columns = np.nonzero((scene.image == (255, 0, 255)).all(axis=2))
        x, y, width, height = tight_box(thing.mask)
        # Border pixels are half covered, hence not of the pure colour.
        assert 0 <= columns.min() - x <= 1
        assert 0 <= rows.min() - y <= 1
        assert 0 <= x + width - 1 - columns.max() <= 1
        assert 0 <= y + height - 1 - rows.max() <= 1


def test_halves_of_a_drawing_are_named():
    sets = {'a': IconSet('a', {'icons': {'fork-and-knife': {'body': '<g/>'}}})}
    left = find_icon(sets, 'a', 'fork-and-knife/left')
    right = find_icon(sets, 'a', 'fork-and-knife/right')

    assert (left.left, right.left + right.width) == (0, 16)
    assert left.width == right.left == pytest.approx(0.53 * 16)
