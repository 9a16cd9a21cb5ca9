"""COCO records of scenes.

Boxes follow COCO: they enclose the visible pixels (modal), and so do area and
segmentation. All three come from one mask, hence agree exactly. Segmentations
are uncompressed run-length encodings, which pycocotools and mmdet read for
single objects as well as for crowds; a polygon would lose holes and half a
pixel all around.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from studies.toydata.minicoco.categories import CATEGORIES
from studies.toydata.minicoco.drawing import Mask
from studies.toydata.minicoco.scene import Scene, SceneObject


def tight_box(mask: Mask) -> tuple[float, float, float, float]:
    """The box [x, y, width, height] around the true pixels of a mask (S, S).

    x and y are the outer edges of the first pixels, so that a single pixel has
    width 1.
    """
    columns = np.flatnonzero(mask.any(axis=0))
    rows = np.flatnonzero(mask.any(axis=1))
    return (
        float(columns[0]),
        float(rows[0]),
        float(columns[-1] - columns[0] + 1),
        float(rows[-1] - rows[0] + 1),
    )


def run_lengths(mask: Mask) -> list[int]:
    """COCO's run-length counts of a mask (S, S).

    Lengths of the runs of equal pixels, column by column, the first run being
    one of zeros (of length 0 where the mask starts with a one).
    """
    flat = mask.ravel(order='F')
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    counts: list[int] = np.diff(edges).tolist()
    return [0, *counts] if flat[0] else counts


def category_records() -> list[dict[str, Any]]:
    """The category table; ids start at 1."""
    return [
        {'id': i, 'name': category.name, 'supercategory': category.family.name}
        for i, category in enumerate(CATEGORIES, start=1)
    ]


def image_record(
    image_id: int, file_name: str, image_size: int
) -> dict[str, Any]:
    """The record of one square image."""
    return {
        'id': image_id,
        'file_name': file_name,
        'width': image_size,
        'height': image_size,
    }


def annotation_records(
    scene: Scene,
    *,
    image_id: int,
    first_id: int,
    category_ids: Sequence[int],
) -> list[dict[str, Any]]:
    """The records of the objects in a scene, ids counting from first_id."""
    return [
        _annotation_record(
            thing,
            annotation_id,
            image_id,
            category_ids[thing.category_index],
        )
        for annotation_id, thing in enumerate(scene.objects, start=first_id)
    ]


def _annotation_record(
    thing: SceneObject, annotation_id: int, image_id: int, category_id: int
) -> dict[str, Any]:
    return {
        'id': annotation_id,
        'image_id': image_id,
        'category_id': category_id,
        'bbox': list(tight_box(thing.mask)),
        'area': float(np.count_nonzero(thing.mask)),
        'iscrowd': 0,
        'segmentation': {
            'size': list(thing.mask.shape),
            'counts': run_lengths(thing.mask),
        },
        # Not COCO's: the part of the whole figure that can be seen.
        'visible': round(thing.visible, 4),
    }
