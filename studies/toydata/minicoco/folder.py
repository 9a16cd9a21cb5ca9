"""A drawn dataset on disk in COCO's layout, complete or absent.

    root/annotations/instances_<split>.json
    root/<split>/000001.png ...

All files are written into a hidden folder beside ``root`` that is renamed at
the end: whatever stands at ``root`` is complete.
"""

import json
import shutil
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import cv2

from mmwkd.files import read_json
from studies.toydata.minicoco.coco import annotation_records, image_record
from studies.toydata.minicoco.drawing import Pixels
from studies.toydata.minicoco.scene import Scene

# Below 64 px the smallest objects are blots of a few pixels.
_LOWEST = {'image_size': 64, 'seed': 0}  # 1 for all others

Job = tuple[str, int]  # split, index of the image
Progress = Callable[[list[Job]], Iterable[Job]]


@dataclass(frozen=True)
class DatasetParameters:
    """All parameters of a dataset's files; stored in its JSON files.

    A dataset derives its own from this one: integer fields, among them
    ``num_<split>`` for every split.
    """

    name: ClassVar[str]  # of the dataset
    splits: ClassVar[tuple[str, ...]]
    extra_files: ClassVar[tuple[str, ...]] = ()  # beside the splits' own

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            lowest = _LOWEST.get(field.name, 1)
            # bool is an int to Python, but as a number it is a mistake.
            if not isinstance(value, int) or isinstance(value, bool):
                raise ValueError(
                    f'{field.name} must be an integer, got {value!r}'
                )
            if value < lowest:
                raise ValueError(
                    f'{field.name} must be at least {lowest}, got {value}'
                )

    def jobs(self) -> list[Job]:
        """Every image of every split."""
        return [
            (split, index)
            for split in self.splits
            for index in range(getattr(self, f'num_{split}'))
        ]


def provide_dataset(
    root: str | Path,
    wanted: DatasetParameters,
    write: Callable[[Path], None],
    *,
    force: bool,
) -> tuple[Path, bool]:
    """Write a dataset, unless it is there already.

    Args:
        root: Folder of the dataset; its parents are made where missing.
        wanted: Parameters that the dataset at root has to have.
        write: Makes the folder that it is given and writes all files into it.
        force: Replace a dataset of the same name that has other parameters or
            misses files. A folder with any other file is never replaced.

    Returns:
        The folder, links resolved, and whether it was just written.

    Raises:
        ValueError: ``root`` is something that must not be replaced.
    """
    # Through a link to its target, which is what gets renamed.
    root = Path(root).resolve()
    replaces = _is_occupied(root)
    if replaces:
        present = _read_parameters(root, type(wanted))
        obstacle = _why_not_reusable(root, present, wanted)
        if obstacle is None:
            return root, False
        if not force:
            raise ValueError(f'{obstacle}; --force (force=True) replaces it')
        _refuse_foreign_files(root, present)

    partial = root.with_name(f'.{root.name}.partial-{uuid.uuid4().hex[:8]}')
    try:
        write(partial)
        if replaces:
            _replace_folder(root, partial)
        else:
            # Fails where another process has filled root in the meantime.
            partial.rename(root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return root, True


def write_splits(
    folder: Path,
    parameters: DatasetParameters,
    draw: Callable[[str, int], Scene],
    *,
    categories: Sequence[dict[str, Any]],
    info: Callable[[str], dict[str, str]],
    progress: Progress | None,
) -> None:
    """Write the images and annotations of all splits.

    Args:
        folder: Folder of the dataset; made where missing.
        parameters: Which images there are; stored beside ``info``.
        draw: (split, index of the image) -> scene.
        categories: COCO's records, in the order of the category indices.
        info: Split -> description and version for COCO's ``info``.
        progress: Wraps the list of (split, image index) that is iterated
            over. None shows nothing.
    """
    # No date: it would make the bytes depend on the day.
    documents: dict[str, dict[str, Any]] = {
        split: {
            'info': {**info(split), parameters.name: asdict(parameters)},
            'licenses': [],
            'images': [],
            'annotations': [],
            'categories': categories,
        }
        for split in parameters.splits
    }
    for name in ('annotations', *parameters.splits):
        (folder / name).mkdir(parents=True)

    for split, index in (progress or list)(parameters.jobs()):
        scene = draw(split, index)
        document = documents[split]
        image = image_record(index + 1, _image_name(index), len(scene.image))
        _write_png(folder / split / image['file_name'], scene.image)
        document['images'].append(image)
        document['annotations'] += annotation_records(
            scene,
            image_id=image['id'],
            first_id=len(document['annotations']) + 1,
            category_ids=[category['id'] for category in categories],
        )

    for split, document in documents.items():
        text = json.dumps(document, separators=(',', ':'))
        annotation_file(folder, split).write_text(text, encoding='utf-8')


def annotation_file(root: Path, split: str) -> Path:
    """Where the annotations of a split are."""
    return root / 'annotations' / f'instances_{split}.json'


def _image_name(index: int) -> str:
    return f'{index + 1:06d}.png'


def _write_png(path: Path, image: Pixels) -> None:
    encoded, data = cv2.imencode('.png', image[..., ::-1])
    if not encoded:
        raise OSError(f'OpenCV could not encode {path}')
    path.write_bytes(data.tobytes())


def _is_occupied(root: Path) -> bool:
    if root.is_dir():
        return any(root.iterdir())
    return root.exists()


def _read_parameters(
    root: Path, kind: type[DatasetParameters]
) -> DatasetParameters:
    """The parameters of the dataset at root; ValueError if it is none."""
    try:
        found = {
            kind(**read_json(annotation_file(root, split))['info'][kind.name])
            for split in kind.splits
        }
        (parameters,) = found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{root} exists and is not {kind.name}; it is left as it is, '
            f'choose another folder'
        ) from error
    return parameters


def _why_not_reusable(
    root: Path, present: DatasetParameters, wanted: DatasetParameters
) -> str | None:
    if present != wanted:
        return (
            f'{root} holds {wanted.name} with other parameters: found '
            f'{asdict(present)}, asked for {asdict(wanted)}'
        )
    missing = sorted(_expected_files(root, present) - _files(root))
    if missing:
        return (
            f'{root} misses {len(missing)} of its files, the first is '
            f'{missing[0]}'
        )
    return None


def _refuse_foreign_files(root: Path, present: DatasetParameters) -> None:
    foreign = sorted(_files(root) - _expected_files(root, present))
    if foreign:
        raise ValueError(
            f'{root} also holds {len(foreign)} file(s) that {present.name} '
            f'did not write, the first is {foreign[0]}; move them away first'
        )


def _expected_files(root: Path, parameters: DatasetParameters) -> set[Path]:
    return {
        *(root / name for name in parameters.extra_files),
        *(annotation_file(root, split) for split in parameters.splits),
        *(root / split / _image_name(i) for split, i in parameters.jobs()),
    }


def _files(root: Path) -> set[Path]:
    return {path for path in root.rglob('*') if not path.is_dir()}


def _replace_folder(root: Path, partial: Path) -> None:
    """Rename partial to root; the old root is deleted only after that."""
    old = root.with_name(f'.{root.name}.old-{uuid.uuid4().hex[:8]}')
    root.rename(old)
    try:
        partial.rename(root)
    except BaseException:
        old.rename(root)
        raise
    shutil.rmtree(old)
