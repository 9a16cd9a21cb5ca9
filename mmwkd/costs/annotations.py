"""What a COCO annotation file says about categories: families and looks."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageOps

from mmwkd.files import read_json

_MAX_ASPECT = 2.0  # of an object that is still easy to look at
_MARGIN = 0.05  # of the box, shown around it
THUMBNAIL_SIZE = 128  # pixels


class Crop(NamedTuple):
    """The object that shows a category."""

    file_name: str  # relative to the folder of the images
    box: tuple[float, float, float, float]  # x, y, width, height in pixels


class CategoryAnnotations(NamedTuple):
    """What is known of the categories of an annotation file."""

    supercategories: Mapping[str, str] | None  # None where the file has none
    crops: Mapping[str, Crop]  # categories without an object are missing


def read_annotations(
    path: str | os.PathLike[str], classes: Sequence[str]
) -> CategoryAnnotations:
    """Read supercategories and find an object to show for each category.

    It is the largest one among those that are no crowd, are not cut by the
    border and are not much longer than wide; where there is none, the
    largest of the others.

    Args:
        path: Annotation file in COCO's format.
        classes: Foreground categories to look for, by name.

    Returns:
        What the file says of these categories.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no annotation file, or lacks a category.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'annotation file {path} does not exist')
    try:
        document = read_json(path)
        categories = {item['name']: item for item in document['categories']}
        crops = _best_crops(document)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path} is no annotation file in COCO format: {error!r}'
        ) from error
    absent = [name for name in classes if name not in categories]
    if absent:
        raise ValueError(
            f'category {absent[0]!r} of the cost matrix is not in {path} '
            f'({len(absent)} of {len(classes)} are not), which has '
            f'{", ".join(map(repr, list(categories)[:5]))}, ...: give the '
            'annotations of the dataset that the matrix was made for'
        )
    supercategories = {
        name: str(categories[name].get('supercategory', ''))
        for name in classes
    }
    return CategoryAnnotations(
        supercategories if all(supercategories.values()) else None,
        {name: crops[name] for name in classes if name in crops},
    )


def cut_thumbnails(
    crops: Mapping[str, Crop], folder: str | os.PathLike[str]
) -> dict[str, Image.Image]:
    """Cut square RGB pictures of categories out of the images of a folder.

    A category whose image cannot be read is left out with a warning.
    """
    thumbnails = {}
    for name, crop in crops.items():
        file = Path(folder) / crop.file_name
        try:
            with Image.open(file) as image:
                thumbnails[name] = _cut(image.convert('RGB'), crop.box)
        except (
            OSError,
            SyntaxError,
            ValueError,
            Image.DecompressionBombError,
        ) as error:
            warnings.warn(
                f'no picture of {name!r}: {file} cannot be read ({error})',
                stacklevel=2,
            )
    return thumbnails


def _cut(image: Image.Image, box: tuple[float, ...]) -> Image.Image:
    x, y, width, height = box
    half = (0.5 + _MARGIN) * max(width, height)
    left, top = max(x + width / 2 - half, 0), max(y + height / 2 - half, 0)
    right = min(x + width / 2 + half, image.width)
    bottom = min(y + height / 2 + half, image.height)
    corners = (round(left), round(top), round(right), round(bottom))
    return ImageOps.pad(
        image.crop(corners), 2 * (THUMBNAIL_SIZE,), color='white'
    )


def _best_crops(document: Mapping[str, Any]) -> dict[str, Crop]:
    names = {item['id']: item['name'] for item in document['categories']}
    images = {item['id']: item for item in document['images']}
    best: dict[str, tuple[tuple[Any, ...], Crop]] = {}
    for annotation in document['annotations']:
        name = names[annotation['category_id']]
        image = images[annotation['image_id']]
        x, y, width, height = box = annotation['bbox']
        right, bottom = image['width'] - x, image['height'] - y
        if not (
            all(map(math.isfinite, box))
            and min(width, height, width + x, height + y) >= 1
            and min(right, bottom) > 0
        ):
            continue  # mmdet leaves it out too
        is_whole = min(x, y, right - width, bottom - height) >= 1
        is_short = max(width, height) <= _MAX_ASPECT * min(width, height)
        # the shown part of an occluded object, where it is known
        area = width * height * annotation.get('visible', 1)
        rank = (not annotation.get('iscrowd', 0), is_whole, is_short, area)
        if name not in best or rank > best[name][0]:
            best[name] = (rank, Crop(image['file_name'], tuple(box)))
    return {name: crop for name, (_, crop) in best.items()}
