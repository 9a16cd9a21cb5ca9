"""Write iconcoco to disk in COCO's layout.

    root/annotations/instances_train.json, ..._val.json, ..._tune.json
    root/train/000001.png ...
    root/val/000001.png ...
    root/tune/000001.png ...
    root/contact_sheet.png
    root/LICENSES.md

As with minicoco, everything is written into a hidden folder beside ``root``
that is renamed at the end: whatever stands at ``root`` is complete.
"""

import json
import shutil
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mmwkd.iconcoco.categories import CATEGORIES, SPLIT_VENDORS
from mmwkd.iconcoco.fetch import PACKAGES, fetch_icon_sets
from mmwkd.iconcoco.scene import IconSets, draw_scene
from mmwkd.iconcoco.sheet import write_contact_sheet
from mmwkd.minicoco.coco import annotation_records, image_record
from mmwkd.minicoco.generate import (
    annotation_file,
    replace_folder,
    write_png,
)

# Raise whenever the same parameters no longer draw the same images.
BUILD_VERSION = 1

_SHEET = 'contact_sheet.png'
_LICENCES = 'LICENSES.md'
_LOWEST = {
    'num_train': 1,
    'num_val': 1,
    'num_tune': 1,
    'image_size': 64,
    'seed': 0,
}

Job = tuple[str, int]  # split, index of the image
Progress = Callable[[list[Job]], Iterable[Job]]


@dataclass(frozen=True)
class Parameters:
    """All that the files depend on; stored in the info of the JSON files."""

    num_train: int
    num_val: int
    num_tune: int
    image_size: int
    seed: int
    build_version: int = BUILD_VERSION

    def __post_init__(self) -> None:
        for name, lowest in _LOWEST.items():
            if getattr(self, name) < lowest:
                raise ValueError(
                    f'{name} must be at least {lowest}, got '
                    f'{getattr(self, name)}'
                )

    def jobs(self) -> list[Job]:
        """Every image of every split."""
        sizes = {
            'train': self.num_train,
            'val': self.num_val,
            'tune': self.num_tune,
        }
        return [
            (split, index)
            for split in SPLIT_VENDORS
            for index in range(sizes[split])
        ]


class IconCoco(NamedTuple):
    """A finished dataset on disk."""

    root: Path
    parameters: Parameters
    built: bool  # False: it was there already, nothing was written


def build_iconcoco(
    root: str | Path,
    *,
    cache: str | Path,
    num_train: int = 2000,
    num_val: int = 500,
    num_tune: int = 300,
    image_size: int = 192,
    seed: int = 0,
    force: bool = False,
    progress: Progress | None = None,
) -> IconCoco:
    """Write the dataset, unless it is there already.

    Args:
        root: Folder of the dataset; its parents are made where missing.
        cache: Folder of the fetched packages, kept for the next build.
        num_train: Training images, at least 1.
        num_val: Validation images, at least 1.
        num_tune: Images to choose hyper-parameters on, at least 1.
        image_size: Side of the square images in pixels, at least 64.
        seed: Seed of all images, at least 0.
        force: Replace an iconcoco that has other parameters. A folder with
            any file that is not iconcoco's is never replaced.
        progress: Wraps the list of (split, image index) that is iterated
            over, such as ``tqdm.tqdm``. None shows nothing.

    Returns:
        Where the dataset is, its parameters and whether it was just written.

    Raises:
        ValueError: A parameter is out of range, a package is not the recorded
            one, or ``root`` is something that must not be replaced.
        RuntimeError: npm could not fetch a package.
    """
    wanted = Parameters(
        num_train=num_train,
        num_val=num_val,
        num_tune=num_tune,
        image_size=image_size,
        seed=seed,
    )
    # Through a link to its target, which is what gets renamed.
    root = Path(root).resolve()
    replaces = _is_occupied(root)
    if replaces:
        present = _read_parameters(root)
        obstacle = _why_not_reusable(root, present, wanted)
        if obstacle is None:
            return IconCoco(root, wanted, built=False)
        if not force:
            raise ValueError(f'{obstacle}; --force (force=True) replaces it')
        _refuse_foreign_files(root, present)

    icon_sets = fetch_icon_sets(cache)
    partial = root.with_name(f'.{root.name}.partial-{uuid.uuid4().hex[:8]}')
    try:
        _write_dataset(partial, wanted, icon_sets, progress or list)
        if replaces:
            replace_folder(root, partial)
        else:
            # Fails where another process has filled root in the meantime.
            partial.rename(root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return IconCoco(root, wanted, built=True)


def licences() -> str:
    """Whose drawings these are and under which terms, as Markdown."""
    rows = '\n'.join(
        f'| {vendor} | {package.author} | {package.licence} | '
        f'@iconify-json/{vendor} {package.version} | {package.source} |'
        for vendor, package in PACKAGES.items()
    )
    return (
        '# Drawings in iconcoco\n\n'
        'The images of this dataset are made from emoji by the authors below.'
        ' The drawings were turned, stretched, mirrored, tinted and partly '
        'covered.\n\n'
        '| vendor | author | licence | npm package | source |\n'
        '| --- | --- | --- | --- | --- |\n'
        f'{rows}\n\n'
        '- Apache-2.0: https://www.apache.org/licenses/LICENSE-2.0\n'
        '- CC-BY-4.0: https://creativecommons.org/licenses/by/4.0/\n'
        '- MIT: https://opensource.org/license/mit\n'
    )


def _write_dataset(
    folder: Path,
    parameters: Parameters,
    icon_sets: IconSets,
    progress: Progress,
) -> None:
    documents = {
        split: _empty_document(split, parameters) for split in SPLIT_VENDORS
    }
    for name in ('annotations', *SPLIT_VENDORS):
        (folder / name).mkdir(parents=True)
    (folder / _LICENCES).write_text(licences(), encoding='utf-8')
    write_contact_sheet(folder / _SHEET, icon_sets)

    for split, index in progress(parameters.jobs()):
        scene = draw_scene(
            icon_sets,
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
        records = annotation_records(
            scene,
            image_id=image['id'],
            first_id=len(document['annotations']) + 1,
        )
        for record, thing in zip(records, scene.objects, strict=True):
            record['category_id'] = CATEGORIES[thing.category_index].id
        document['annotations'] += records

    for split, document in documents.items():
        text = json.dumps(document, separators=(',', ':'))
        annotation_file(folder, split).write_text(text, encoding='utf-8')


def _image_name(index: int) -> str:
    return f'{index + 1:06d}.png'


def _empty_document(split: str, parameters: Parameters) -> dict[str, Any]:
    # No date: it would make the bytes depend on the day.
    return {
        'info': {
            'description': f'iconcoco {split}: scenes composed from emoji by '
            f'{", ".join(SPLIT_VENDORS[split])}; see LICENSES.md',
            'version': str(parameters.build_version),
            'iconcoco': asdict(parameters),
        },
        'licenses': [],
        'images': [],
        'annotations': [],
        'categories': [
            {'id': c.id, 'name': c.name, 'supercategory': c.supercategory}
            for c in CATEGORIES
        ],
    }


def _is_occupied(root: Path) -> bool:
    if root.is_dir():
        return any(root.iterdir())
    return root.exists()


def _why_not_reusable(
    root: Path, present: Parameters, wanted: Parameters
) -> str | None:
    if present != wanted:
        return (
            f'{root} holds an iconcoco with other parameters: found '
            f'{asdict(present)}, asked for {asdict(wanted)}'
        )
    missing = sorted(_expected_files(root, present) - _files(root))
    if missing:
        return (
            f'{root} misses {len(missing)} of its files, the first is '
            f'{missing[0]}'
        )
    return None


def _refuse_foreign_files(root: Path, present: Parameters) -> None:
    foreign = sorted(_files(root) - _expected_files(root, present))
    if foreign:
        raise ValueError(
            f'{root} also holds {len(foreign)} file(s) that iconcoco did not '
            f'write, the first is {foreign[0]}; move them away first'
        )


def _expected_files(root: Path, parameters: Parameters) -> set[Path]:
    return {
        root / _SHEET,
        root / _LICENCES,
        *(annotation_file(root, split) for split in SPLIT_VENDORS),
        *(root / split / _image_name(i) for split, i in parameters.jobs()),
    }


def _files(root: Path) -> set[Path]:
    return {path for path in root.rglob('*') if not path.is_dir()}


def _read_parameters(root: Path) -> Parameters:
    try:
        document = json.loads(
            annotation_file(root, 'train').read_text(encoding='utf-8')
        )
        return Parameters(**document['info']['iconcoco'])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{root} exists and is not an iconcoco dataset; it is left as it '
            f'is, choose another folder'
        ) from error
