"""Write minicoco to disk in COCO's layout.

    root/annotations/instances_train.json
    root/annotations/instances_val.json
    root/train/000001.png ...
    root/val/000001.png ...

The files of one seed are the same bytes on every run with the same versions of
NumPy and OpenCV. All of them are written into a hidden folder beside ``root``
that is renamed at the end: whatever stands at ``root`` is complete.
"""

import json
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2

from mmwkd.minicoco.coco import (
    annotation_records,
    category_records,
    image_record,
)
from mmwkd.minicoco.drawing import Pixels
from mmwkd.minicoco.scene import draw_scene
from mmwkd.minicoco.style import SPLITS

# Raise whenever the same parameters no longer draw the same images.
GENERATOR_VERSION = 1

# Below 64 px the smallest objects are blots of a few pixels.
_LOWEST = {'num_train': 1, 'num_val': 1, 'image_size': 64, 'seed': 0}

Job = tuple[str, int]  # split, index of the image
Progress = Callable[[list[Job]], Iterable[Job]]


@dataclass(frozen=True)
class Parameters:
    """All that the files depend on; stored in the info of both JSON files."""

    num_train: int
    num_val: int
    image_size: int
    seed: int
    generator_version: int = GENERATOR_VERSION

    def __post_init__(self) -> None:
        for name, lowest in _LOWEST.items():
            value = getattr(self, name)
            # bool is an int to Python, but as a number it is a mistake.
            if not isinstance(value, int) or isinstance(value, bool):
                raise ValueError(f'{name} must be an integer, got {value!r}')
            if value < lowest:
                raise ValueError(
                    f'{name} must be at least {lowest}, got {value}'
                )

    def num_images(self, split: str) -> int:
        """Number of images in a split."""
        return {'train': self.num_train, 'val': self.num_val}[split]


class MiniCoco(NamedTuple):
    """A finished dataset on disk."""

    root: Path
    parameters: Parameters
    generated: bool  # False: it was there already, nothing was written


def generate_minicoco(
    root: str | Path,
    *,
    num_train: int = 2000,
    num_val: int = 400,
    image_size: int = 128,
    seed: int = 0,
    force: bool = False,
    progress: Progress | None = None,
) -> MiniCoco:
    """Write the dataset, unless it is there already.

    Args:
        root: Folder of the dataset; its parents are made where missing.
        num_train: Training images, at least 1.
        num_val: Validation images, at least 1.
        image_size: Side of the square images in pixels, at least 64.
        seed: Seed of all images, at least 0.
        force: Replace a minicoco that has other parameters or misses images.
            A folder with any file that is not minicoco's is never replaced.
        progress: Wraps the list of (split, image index) that is iterated
            over, such as ``tqdm.tqdm``. None shows nothing.

    Returns:
        Where the dataset is, its parameters and whether it was just written.

    Raises:
        ValueError: A parameter is out of range, or ``root`` is something that
            must not be replaced.
    """
    wanted = Parameters(
        num_train=num_train, num_val=num_val, image_size=image_size, seed=seed
    )
    # Through a link to its target, which is what gets renamed.
    root = Path(root).resolve()
    replaces = _is_occupied(root)
    if replaces:
        present = _read_parameters(root)
        obstacle = _why_not_reusable(root, present, wanted)
        if obstacle is None:
            return MiniCoco(root, wanted, generated=False)
        if not force:
            raise ValueError(f'{obstacle}; --force (force=True) replaces it')
        _refuse_foreign_files(root, present)

    partial = root.with_name(f'.{root.name}.partial-{uuid.uuid4().hex[:8]}')
    try:
        _write_dataset(partial, wanted, progress or list)
        if replaces:
            replace_folder(root, partial)
        else:
            # Fails where another process has filled root in the meantime.
            partial.rename(root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return MiniCoco(root, wanted, generated=True)


def annotation_file(root: Path, split: str) -> Path:
    """Where the annotations of a split are."""
    return root / 'annotations' / f'instances_{split}.json'


def _write_dataset(
    folder: Path, parameters: Parameters, progress: Progress
) -> None:
    documents = {split: _empty_document(split, parameters) for split in SPLITS}
    for name in ('annotations', *SPLITS):
        (folder / name).mkdir(parents=True)

    for split, index in progress(list(_jobs(parameters))):
        scene = draw_scene(
            split,
            index,
            image_size=parameters.image_size,
            seed=parameters.seed,
        )
        document = documents[split]
        image = image_record(
            index + 1, _image_name(index), parameters.image_size
        )
        write_png(folder / split / image['file_name'], scene.image)
        document['images'].append(image)
        document['annotations'] += annotation_records(
            scene,
            image_id=image['id'],
            first_id=len(document['annotations']) + 1,
        )

    for split, document in documents.items():
        text = json.dumps(document, separators=(',', ':'))
        annotation_file(folder, split).write_text(text, encoding='utf-8')


def _jobs(parameters: Parameters) -> Iterator[Job]:
    for split in SPLITS:
        for index in range(parameters.num_images(split)):
            yield split, index


def _image_name(index: int) -> str:
    return f'{index + 1:06d}.png'


def write_png(path: Path, image: Pixels) -> None:
    """Write an RGB image (S, S, 3)."""
    encoded, data = cv2.imencode('.png', image[..., ::-1])
    if not encoded:
        raise OSError(f'OpenCV could not encode {path}')
    path.write_bytes(data.tobytes())


def _empty_document(split: str, parameters: Parameters) -> dict[str, Any]:
    # No date: it would make the bytes depend on the day.
    return {
        'info': {
            'description': f'minicoco {split}: figures drawn by mmwkd',
            'version': str(parameters.generator_version),
            'minicoco': asdict(parameters),
        },
        'licenses': [],
        'images': [],
        'annotations': [],
        'categories': category_records(),
    }


def _is_occupied(root: Path) -> bool:
    if root.is_dir():
        return any(root.iterdir())
    return root.exists()


def _read_parameters(root: Path) -> Parameters:
    """The parameters of the minicoco at root; ValueError if it is none."""
    try:
        found = {
            Parameters(
                **json.loads(
                    annotation_file(root, split).read_text(encoding='utf-8')
                )['info']['minicoco']
            )
            for split in SPLITS
        }
        (parameters,) = found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{root} exists and is not a minicoco dataset; it is left as it '
            f'is, choose another folder'
        ) from error
    return parameters


def _why_not_reusable(
    root: Path, present: Parameters, wanted: Parameters
) -> str | None:
    if present != wanted:
        return (
            f'{root} holds a minicoco with other parameters: found '
            f'{asdict(present)}, asked for {asdict(wanted)}'
        )
    missing = sorted(_expected_files(root, present) - _files(root))
    if missing:
        return (
            f'{root} misses {len(missing)} of its images, the first is '
            f'{missing[0]}'
        )
    return None


def _refuse_foreign_files(root: Path, present: Parameters) -> None:
    foreign = sorted(_files(root) - _expected_files(root, present))
    if foreign:
        raise ValueError(
            f'{root} also holds {len(foreign)} file(s) that minicoco did not '
            f'write, the first is {foreign[0]}; move them away first'
        )


def _expected_files(root: Path, parameters: Parameters) -> set[Path]:
    files = {annotation_file(root, split) for split in SPLITS}
    files.update(
        root / split / _image_name(index) for split, index in _jobs(parameters)
    )
    return files


def _files(root: Path) -> set[Path]:
    return {path for path in root.rglob('*') if not path.is_dir()}


def replace_folder(root: Path, partial: Path) -> None:
    """Rename partial to root; the old root is deleted only after that."""
    old = root.with_name(f'.{root.name}.old-{uuid.uuid4().hex[:8]}')
    root.rename(old)
    try:
        partial.rename(root)
    except BaseException:
        old.rename(root)
        raise
    shutil.rmtree(old)
