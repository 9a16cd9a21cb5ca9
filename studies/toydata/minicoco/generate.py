"""Write minicoco to disk in COCO's layout.

    root/annotations/instances_train.json
    root/annotations/instances_val.json
    root/train/000001.png ...
    root/val/000001.png ...

The files of one seed are the same bytes on every run with the same versions of
NumPy and OpenCV. ``folder`` sees to it that whatever stands at ``root`` is
complete.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from studies.toydata.minicoco.coco import category_records
from studies.toydata.minicoco.folder import (
    DatasetParameters,
    Progress,
    provide_dataset,
    write_splits,
)
from studies.toydata.minicoco.scene import draw_scene
from studies.toydata.minicoco.style import SPLITS

# Raise whenever the same parameters no longer draw the same images.
GENERATOR_VERSION = 1


@dataclass(frozen=True)
class Parameters(DatasetParameters):
    """All that the files depend on; stored in the info of both JSON files."""

    name = 'minicoco'
    splits = tuple(SPLITS)

    num_train: int
    num_val: int
    image_size: int
    seed: int
    generator_version: int = GENERATOR_VERSION


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

    def write(folder: Path) -> None:
        write_splits(
            folder,
            wanted,
            partial(draw_scene, image_size=image_size, seed=seed),
            categories=category_records(),
            info=_info,
            progress=progress,
        )

    root, generated = provide_dataset(root, wanted, write, force=force)
    return MiniCoco(root, wanted, generated)


def _info(split: str) -> dict[str, str]:
    return {
        'description': f'minicoco {split}: figures drawn by mmwkd',
        'version': str(GENERATOR_VERSION),
    }
