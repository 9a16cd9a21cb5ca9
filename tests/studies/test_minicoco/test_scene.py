"""What a scene promises about its objects."""

import dataclasses

import numpy as np
import pytest

from studies.toydata.minicoco.background import PATTERNS, draw_background
from studies.toydata.minicoco.categories import CATEGORIES
from studies.toydata.minicoco.coco import tight_box
from studies.toydata.minicoco.drawing import Sprite
from studies.toydata.minicoco.scene import Layers, compose_scene, draw_scene
from studies.toydata.minicoco.style import SPLITS, TRAIN_STYLE, VAL_STYLE

NUM_SCENES = 60


@pytest.fixture(scope='module')
def scenes():
    return {
        split: [draw_scene(split, index) for index in range(NUM_SCENES)]
        for split in SPLITS
    }


def _square(side: int) -> Sprite:
    return Sprite(
        colour=np.full((side, side, 3), 200, dtype=np.uint8),
        alpha=np.full((side, side), 255, dtype=np.uint8),
    )


def _layers() -> Layers:
    return Layers(np.zeros((64, 64, 3), dtype=np.uint8))


def test_scene_depends_on_nothing_but_its_arguments(scenes):
    np.random.seed(1)
    draw_scene('val', 3, seed=9)
    again = draw_scene('train', 5)

    first = scenes['train'][5]
    np.testing.assert_array_equal(first.image, again.image)
    for one, other in zip(first.objects, again.objects, strict=True):
        assert one.category_index == other.category_index
        np.testing.assert_array_equal(one.mask, other.mask)


@pytest.mark.parametrize(
    'other', [('train', 0, 1), ('train', 1, 0), ('val', 0, 0)]
)
def test_seed_index_and_split_each_change_the_image(scenes, other):
    split, index, seed = other
    image = draw_scene(split, index, seed=seed).image

    assert np.mean(image != scenes['train'][0].image) > 0.5


def test_splits_of_one_style_would_still_differ(scenes, monkeypatch):
    monkeypatch.setitem(SPLITS, 'val', TRAIN_STYLE)

    image = draw_scene('val', 0).image

    assert np.mean(image != scenes['train'][0].image) > 0.5


@pytest.mark.parametrize('split', SPLITS)
def test_objects_are_few_visible_and_apart(scenes, split):
    style = SPLITS[split]
    assert style.min_visible >= 0.5
    for scene in scenes[split]:
        assert 1 <= len(scene.objects) <= style.num_objects[1]
        masks = np.stack([thing.mask for thing in scene.objects])
        # A pixel shows one object at most.
        assert masks.sum(axis=0).max() == 1
        for thing in scene.objects:
            assert thing.mask.any()
            assert style.min_visible <= thing.visible <= 1


@pytest.mark.parametrize('split', SPLITS)
def test_first_objects_run_through_the_table(scenes, split):
    first = [scene.objects[0].category_index for scene in scenes[split]]

    assert first == [i % len(CATEGORIES) for i in range(NUM_SCENES)]


@pytest.mark.parametrize('image_size', [64, 128, 200])
def test_boxes_enclose_the_pixels_that_an_object_changed(image_size):
    style = dataclasses.replace(TRAIN_STYLE, num_objects=(1, 1))
    for seed in range(10):
        scene = compose_scene(
            np.random.default_rng(seed),
            style,
            image_size=image_size,
            first_category=seed,
        )
        # The background is drawn first, so that the same stream repeats it.
        background = draw_background(
            np.random.default_rng(seed), style, image_size
        )
        changed = np.any(scene.image != background, axis=2)
        (thing,) = scene.objects

        assert not np.any(thing.mask & ~changed)
        x, y, width, height = tight_box(thing.mask)
        left, top, wide, high = tight_box(changed)
        # Pixels less than half covered change too, yet do not belong.
        assert 0 <= x - left <= 1
        assert 0 <= y - top <= 1
        assert 0 <= (left + wide) - (x + width) <= 1
        assert 0 <= (top + high) - (y + height) <= 1


def test_object_sizes_span_the_range_of_the_style(scenes):
    longest = [
        max(tight_box(thing.mask)[2:])
        for scene in scenes['train']
        for thing in scene.objects
    ]

    assert min(longest) < 20
    assert max(longest) > 70


def test_layer_hides_what_is_below():
    layers = _layers()
    assert layers.add(_square(20), (10, 10), 0, 0.5)
    assert layers.add(_square(10), (25, 10), 1, 0.5)

    below, above = layers.scene().objects
    np.testing.assert_allclose(below.visible, (400 - 50) / 400)
    assert above.visible == 1
    assert not below.mask[10:20, 25:30].any()


def test_layer_that_hides_too_much_leaves_the_scene_alone():
    layers = _layers()
    assert layers.add(_square(20), (10, 10), 0, 0.5)
    before = layers.scene()
    image = before.image.copy()

    assert not layers.add(_square(19), (10, 10), 1, 0.5)

    after = layers.scene()
    assert len(after.objects) == 1
    assert after.objects[0].visible == 1
    np.testing.assert_array_equal(after.image, image)


@pytest.mark.parametrize(
    ('corner', 'is_added'), [((-9, 0), True), ((-11, 0), False)]
)
def test_border_counts_as_cover(corner, is_added):
    layers = _layers()

    assert layers.add(_square(20), corner, 0, 0.5) is is_added


def test_validation_looks_different(scenes):
    def mean_over_scenes(split, measure):
        return np.mean([measure(scene) for scene in scenes[split]])

    def brightness(scene):
        return scene.image.mean()

    def visible(scene):
        return np.mean([thing.visible for thing in scene.objects])

    only_train = set(TRAIN_STYLE.backgrounds) - set(VAL_STYLE.backgrounds)
    only_val = set(VAL_STYLE.backgrounds) - set(TRAIN_STYLE.backgrounds)
    assert only_train
    assert only_val
    for measure in (brightness, visible):
        val = mean_over_scenes('val', measure)
        assert val < mean_over_scenes('train', measure)


@pytest.mark.parametrize('name', PATTERNS)
def test_pattern_is_a_mixing_weight(name):
    for seed in range(5):
        mix = PATTERNS[name](np.random.default_rng(seed), 96)

        assert mix.shape == (96, 96)
        assert mix.min() >= 0
        assert mix.max() <= 1
        if name != 'flat':
            assert np.ptp(mix) > 0.5


def test_every_pattern_is_used_and_every_name_is_known():
    used = {name for style in SPLITS.values() for name in style.backgrounds}

    assert used == set(PATTERNS)
