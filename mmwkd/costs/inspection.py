"""Say how good a cost matrix is: figures to read, and pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmwkd.costs.cost_matrix import CostMatrix
from mmwkd.costs.plots import draw_heatmap, draw_map
from mmwkd.costs.quality import (
    distances,
    nearest_categories,
    supercategory_auc,
)
from mmwkd.files import atomic_write, check_writable, read_json
from mmwkd.functional.checks import check_positive

PICTURES = ('heatmap.png', 'map.png')


def cost_inspect(
    file: Path,
    /,
    *,
    ann_file: Path | None = None,
    kappa: float = 2.0,
    out_dir: Path | None = None,
    force: bool = False,
) -> tuple[Path, Path]:
    """Show how good a cost matrix is: figures, a heatmap and a map.

    Args:
        file: Cost matrix file.
        ann_file: Annotations in COCO format, for their supercategories.
        kappa: Sharpness of the drawn cost.
        out_dir: Folder for the pictures; by default one named as the file,
            in work_dirs/cost_matrix.
        force: Whether earlier pictures may be replaced.

    Returns:
        Paths of the heatmap and of the map.

    Raises:
        FileExistsError: If there is a picture and ``force`` is not set.
        FileNotFoundError: If a file does not exist.
        ValueError: If a file is not what it should be.
    """
    check_positive(kappa=kappa)
    out_dir = out_dir or Path('work_dirs/cost_matrix') / file.stem
    heatmap, plane = (out_dir / name for name in PICTURES)
    for path in (heatmap, plane):
        check_writable(path, force=force)
    matrix = CostMatrix.load(file)
    families = None
    if ann_file is not None:
        families = read_supercategories(ann_file, matrix.categories[:-1])
    print(f'{file}, estimator {matrix.estimator}')
    print('\n'.join(figures_of(matrix, families)))
    drawn = {
        heatmap: draw_heatmap(matrix, families, kappa=kappa),
        plane: draw_map(matrix, families),
    }
    for path, picture in drawn.items():
        with atomic_write(path, force=force) as opened:
            opened.write(picture)
        print(path)
    return heatmap, plane


def figures_of(
    matrix: CostMatrix, supercategories: dict[str, str] | None = None
) -> list[str]:
    """Lines that say what the distances 1 - IR of a matrix are like."""
    gaps = distances(matrix)
    pairs = gaps[~np.eye(len(gaps), dtype=bool)]
    mean, std = pairs.mean(), pairs.std()
    auc = supercategory_auc(matrix, supercategories)
    lines = [
        f'distance 1 - IR: {mean:.3f} ± {std:.3f}, '
        f'{pairs.min():.3f} to {pairs.max():.3f}',
        f'variation: {std / max(mean, 1e-12):.3f}\n'
        '    standard deviation / mean; near 0 every mistake costs the same',
        'supercategory AUC: '
        + (
            'needs supercategories with and without company (--ann-file)'
            if auc is None
            else f'{auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}]'
        ),
        '    chance that a pair of one supercategory is cheaper than a mixed '
        'one; 0.5 is a coin. Bootstrap over categories, 95 %',
        'nearest categories, with their distance 1 - IR',
    ]
    for name, near in nearest_categories(matrix).items():
        found = (f'{other} {gap:.3f}' for other, gap in near.items())
        lines.append(f'    {name}: {", ".join(found) or "none"}')
    return lines


def read_supercategories(
    path: Path, classes: Sequence[str]
) -> dict[str, str] | None:
    """Supercategories of classes in a COCO file; None if it has none.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no annotation file, or lacks a class.
    """
    document = read_json(path)
    try:
        known = {
            each['name']: each.get('supercategory', '')
            for each in document['categories']
        }
    except (KeyError, TypeError) as error:
        raise ValueError(
            f'{path} is no annotation file in COCO format: {error!r}'
        ) from error
    absent = [name for name in classes if name not in known]
    if absent:
        raise ValueError(
            f'category {absent[0]!r} of the cost matrix is not in {path}: '
            'give the annotations of the dataset that it was made for'
        )
    families = {name: known[name] for name in classes}
    return families if all(families.values()) else None
