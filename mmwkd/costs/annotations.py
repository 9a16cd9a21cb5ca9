"""What a COCO annotation file says about categories: families and looks."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageOps

from mmwkd.files import read_json

_MAX_ASPECT = 2.0  # of a crop that is still easy to look at
_MARGIN = 0.05  # of the box, shown around it
THUMBNAIL_SIZE = 128  # pixels


class Crop(NamedTuple):
    """The object that shows a category."""

    file_name: str  # relative to the folder of the images
    box: tuple[float, float, float, float]  # x, y, width, height in pixels


@dataclass(frozen=True)
class CategoryAnnotations:
    """What is known of the categories of an annotation file."""

    supercategories: Mapping[str, str] | None  # None where the file has none
    crops: Mapping[str, Crop]  # categories without an object are missing


def read_annotations(
    path: str | os.PathLike[str], classes: Sequence[str]
) -> CategoryAnnotations:
    """Read supercategories and find an object to show for each category.

    Boxes that mmdet leaves out too, because they are not finite, smaller
    than a pixel or outside their image, show nothing. Of the others it is
    the largest one among those that are no crowd, are not cut by the
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
        crops = _best_crops(document, set(classes))
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
        name: str(categories[name]['supercategory'])
        for name in classes
        if categories[name].get('supercategory')
    }
    return CategoryAnnotations(
        supercategories if len(supercategories) == len(classes) else None,
        crops,
    )


def cut_thumbnails(
    crops: Mapping[str, Crop], folder: str | os.PathLike[str]
) -> dict[str, Image.Image]:
    """Cut square pictures of categories out of their images.

    Args:
        crops: Object of each category.
        folder: Folder of the images.

    Returns:
        RGB pictures of ``THUMBNAIL_SIZE``; a category whose image cannot be
        read is left out with a warning.
    """
    thumbnails = {}
    for name, crop in crops.items():
        file = Path(folder) / crop.file_name
        try:
            with Image.open(file) as image:
                thumbnails[name] = _cut(image.convert('RGB'), crop)
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


def _best_crops(
    document: Mapping[str, Any], classes: set[str]
) -> dict[str, Crop]:
    names = {item['id']: item['name'] for item in document['categories']}
    images = {item['id']: item for item in document['images']}
    best: dict[str, tuple[tuple[Any, ...], Crop]] = {}
    for annotation in document['annotations']:
        name = names[annotation['category_id']]
        if name not in classes:
            continue
        image = images[annotation['image_id']]
        if not _shows_something(annotation['bbox'], image):
            continue
        rank = _rank(annotation, image)
        if name not in best or rank > best[name][0]:
            crop = Crop(image['file_name'], tuple(annotation['bbox']))
            best[name] = (rank, crop)
    return {name: crop for name, (_, crop) in best.items()}


def _shows_something(box: Sequence[float], image: Mapping[str, Any]) -> bool:
    x, y, width, height = box
    return (
        all(map(math.isfinite, box))
        and min(width, height) >= 1
        and -width < x < image['width']
        and -height < y < image['height']
    )


def _rank(
    annotation: Mapping[str, Any], image: Mapping[str, Any]
) -> tuple[Any, ...]:
    """Sorts objects by how well they show their category."""
    x, y, width, height = annotation['bbox']
    is_cut = (
        x < 1
        or y < 1
        or x + width > image['width'] - 1
        or y + height > image['height'] - 1
    )
    is_long = max(width, height) > _MAX_ASPECT * min(width, height)
    # the shown part of an occluded object, where it is known
    area = width * height * annotation.get('visible', 1)
    return not annotation.get('iscrowd', 0), not is_cut, not is_long, area


def _cut(image: Image.Image, crop: Crop) -> Image.Image:
    x, y, width, height = crop.box
    side = (1 + 2 * _MARGIN) * max(width, height, 1)
    left, top = x + width / 2 - side / 2, y + height / 2 - side / 2
    box = (
        max(round(left), 0),
        max(round(top), 0),
        min(round(left + side), image.width),
        min(round(top + side), image.height),
    )
    return ImageOps.pad(
        image.crop(box),
        (THUMBNAIL_SIZE, THUMBNAIL_SIZE),
        method=Image.Resampling.BICUBIC,
        color='white',
    )
