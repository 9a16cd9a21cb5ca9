"""Make the subset of COCO's val2017 that the experiments train and test on.

    root/annotations/instances_train.json, ..._tune.json, ..._val.json
    root/images/000000000139.jpg ...

Images are val2017's because the teachers have seen all of train2017. They are
made small, and boxes with them.
"""

import json
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from mmwkd.files import read_json

LONG_SIDE = 384
_QUALITY = 90
_IMAGE_IDS = Path(__file__).with_name('image_ids.json')

Record = dict[str, Any]
Progress = Callable[[list[Record]], Iterable[Record]]


def image_ids() -> dict[str, list[int]]:
    """COCO's ids of the images of each split."""
    return read_json(_IMAGE_IDS)


def make_coco_photos(
    coco: str | Path,
    root: str | Path,
    *,
    splits: Mapping[str, Iterable[int]] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write small copies of some images of COCO, with their annotations.

    Args:
        coco: Folder with COCO's ``val2017`` and ``annotations``.
        root: Folder to write; it must not exist, and is complete once it
            does.
        splits: Ids of the images of each split; None for :func:`image_ids`.
        progress: Wraps the list of images that is iterated over, such as
            ``tqdm.tqdm``. None shows nothing.

    Returns:
        ``root``.

    Raises:
        FileExistsError: ``root`` exists.
        FileNotFoundError: An image or the annotations are missing.
        ValueError: COCO's annotations lack an image.
    """
    coco, root = Path(coco), Path(root)
    if root.exists():
        raise FileExistsError(f'{root} exists; name a new folder')
    source = read_json(coco / 'annotations' / 'instances_val2017.json')
    splits = image_ids() if splits is None else splits
    documents = {
        split: subset(source, set(ids)) for split, ids in splits.items()
    }
    images = [each for part in documents.values() for each in part['images']]
    _check_files(coco / 'val2017', images)

    partial = root.with_name(f'.{root.name}.partial-{uuid.uuid4().hex[:8]}')
    try:
        for name in ('annotations', 'images'):
            (partial / name).mkdir(parents=True)
        for image in (progress or list)(images):
            name = image['file_name']
            _write_small(
                coco / 'val2017' / name,
                partial / 'images' / name,
                (image['width'], image['height']),
            )
        for split, document in documents.items():
            path = partial / 'annotations' / f'instances_{split}.json'
            path.write_text(json.dumps(document), encoding='utf-8')
        partial.rename(root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return root


def subset(source: Mapping[str, Any], ids: set[int]) -> Record:
    """Annotations of some images of COCO, scaled to a long side of 384 px.

    ``area`` is that of the box and there is no segmentation, so that small,
    medium and large objects are small, medium and large boxes.

    Args:
        source: COCO's annotations.
        ids: Ids of the images to keep.

    Raises:
        ValueError: If COCO's annotations lack an image.
    """
    images = {
        image['id']: _small_image(image)
        for image in source['images']
        if image['id'] in ids
    }
    missing = sorted(ids - images.keys())
    if missing:
        raise ValueError(
            f'the annotations lack {len(missing)} of {len(ids)} images, the '
            f'first is {missing[0]}: are they of val2017?'
        )
    return {
        'info': source.get('info', {}),
        'licenses': source.get('licenses', []),
        'images': [images[key] for key in sorted(images)],
        'annotations': [
            _small_annotation(annotation, images[annotation['image_id']])
            for annotation in source['annotations']
            if annotation['image_id'] in images
        ],
        'categories': source['categories'],
    }


def _scale(width: int, height: int) -> float:
    """By how much an image is scaled; small ones stay as they are."""
    return min(1.0, LONG_SIDE / max(width, height))


def _small_image(image: Record) -> Record:
    width, height = image['width'], image['height']
    scale = _scale(width, height)
    return {
        **image,
        'width': round(width * scale),
        'height': round(height * scale),
        'orig_width': width,
        'orig_height': height,
    }


def _small_annotation(annotation: Record, image: Record) -> Record:
    scale = _scale(image['orig_width'], image['orig_height'])
    box = [round(value * scale, 2) for value in annotation['bbox']]
    return {
        **annotation,
        'bbox': box,
        'area': round(box[2] * box[3], 2),
        'segmentation': [],
    }


def _check_files(folder: Path, images: list[Record]) -> None:
    missing = [
        image['file_name']
        for image in images
        if not (folder / image['file_name']).is_file()
    ]
    if missing:
        raise FileNotFoundError(
            f'{folder} lacks {len(missing)} of {len(images)} images, the '
            f'first is {missing[0]}; unpack val2017.zip there'
        )


def _write_small(source: Path, target: Path, size: tuple[int, int]) -> None:
    with Image.open(source) as image:
        small = image.convert('RGB').resize(size, Image.Resampling.LANCZOS)
    small.save(target, 'JPEG', quality=_QUALITY)
