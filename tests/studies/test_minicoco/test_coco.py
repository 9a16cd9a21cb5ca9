"""COCO records, against pycocotools."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from studies.toydata.minicoco.coco import (
    annotation_records,
    category_records,
    run_lengths,
    tight_box,
)
from studies.toydata.minicoco.scene import draw_scene


def _random_mask(seed: int, density: float) -> np.ndarray:
    return np.random.default_rng(seed).uniform(size=(11, 11)) < density


def test_run_lengths_go_down_the_columns_and_start_with_zeros():
    mask = np.array([[0, 1, 0], [0, 1, 0], [1, 0, 0]], dtype=bool)

    assert run_lengths(mask) == [2, 3, 4]
    assert run_lengths(~mask) == [0, 2, 3, 4]
    assert run_lengths(np.zeros((3, 3), dtype=bool)) == [9]
    assert run_lengths(np.ones((3, 3), dtype=bool)) == [0, 9]


@pytest.mark.parametrize('density', [0.05, 0.5, 0.95])
def test_masks_survive_pycocotools(density):
    for seed in range(5):
        mask = _random_mask(seed, density)
        encoded = coco_mask.frPyObjects(
            {'size': [11, 11], 'counts': run_lengths(mask)}, 11, 11
        )

        np.testing.assert_array_equal(coco_mask.decode(encoded), mask)
        np.testing.assert_array_equal(
            coco_mask.toBbox(encoded), tight_box(mask)
        )


def test_single_pixel_has_a_box_of_one():
    mask = np.zeros((5, 5), dtype=bool)
    mask[2, 4] = True

    assert tight_box(mask) == (4.0, 2.0, 1.0, 1.0)


def test_annotations_count_on_from_the_first_id():
    scene = draw_scene('train', 0)

    records = annotation_records(
        scene, image_id=7, first_id=40, category_ids=range(90, 66, -1)
    )

    assert [r['id'] for r in records] == list(
        range(40, 40 + len(scene.objects))
    )
    assert {r['image_id'] for r in records} == {7}
    assert [r['category_id'] for r in records] == [
        90 - thing.category_index for thing in scene.objects
    ]


def test_category_ids_start_at_one_without_a_gap():
    assert [r['id'] for r in category_records()] == list(range(1, 25))
