"""Write iconcoco to disk in COCO's layout.

    root/annotations/instances_train.json, ..._val.json, ..._tune.json
    root/train/000001.png ...
    root/val/000001.png ...
    root/tune/000001.png ...
    root/contact_sheet.png
    root/LICENSES.md

As with minicoco, whatever stands at ``root`` is complete.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from studies.toydata.iconcoco.categories import CATEGORIES, SPLIT_VENDORS
from studies.toydata.iconcoco.fetch import PACKAGES, fetch_icon_sets
from studies.toydata.iconcoco.scene import draw_scene
from studies.toydata.iconcoco.sheet import write_contact_sheet
from studies.toydata.minicoco.folder import (
    DatasetParameters,
    Progress,
    provide_dataset,
    write_splits,
)

# Raise whenever the same parameters no longer draw the same images.
BUILD_VERSION = 1

_SHEET = 'contact_sheet.png'
_LICENCES = 'LICENSES.md'


@dataclass(frozen=True)
class Parameters(DatasetParameters):
    """All that the files depend on; stored in the info of the JSON files."""

    name = 'iconcoco'
    splits = tuple(SPLIT_VENDORS)
    extra_files = (_SHEET, _LICENCES)

    num_train: int
    num_val: int
    num_tune: int
    image_size: int
    seed: int
    build_version: int = BUILD_VERSION


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
        force: Replace an iconcoco that has other parameters or misses files.
            A folder with any file that is not iconcoco's is never replaced.
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

    def write(folder: Path) -> None:
        icon_sets = fetch_icon_sets(cache)
        folder.mkdir(parents=True)
        (folder / _LICENCES).write_text(licences(), encoding='utf-8')
        write_contact_sheet(folder / _SHEET, icon_sets)
        write_splits(
            folder,
            wanted,
            partial(draw_scene, icon_sets, image_size=image_size, seed=seed),
            categories=[
                {'id': c.id, 'name': c.name, 'supercategory': c.supercategory}
                for c in CATEGORIES
            ],
            info=_info,
            progress=progress,
        )

    root, built = provide_dataset(root, wanted, write, force=force)
    return IconCoco(root, wanted, built)


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


def _info(split: str) -> dict[str, str]:
    return {
        'description': f'iconcoco {split}: scenes composed from emoji by '
        f'{", ".join(SPLIT_VENDORS[split])}; see LICENSES.md',
        'version': str(BUILD_VERSION),
    }
