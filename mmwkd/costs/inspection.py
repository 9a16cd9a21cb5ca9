"""Say how good a cost matrix is: figures to read, and pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmwkd.costs.cost_matrix import CostMatrix
from mmwkd.costs.quality import (
    distances,
    nearest_categories,
    supercategory_auc,
)
from mmwkd.files import read_json

PICTURES = ('heatmap.png', 'map.png')


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
