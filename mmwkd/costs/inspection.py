"""Say how good a cost matrix is, in figures to read.

All figures are of the distance 1 - IR. The cost grows with it whatever kappa
is, so that what depends on ranks alone holds for the cost too.

Shapes: K categories, background included and last; P pairs i < j of them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmwkd.costs.cost_matrix import CostMatrix
from mmwkd.extras import needs_extra
from mmwkd.files import read_json

with needs_extra('cost'):
    from sklearn.metrics import roc_auc_score

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
    """Supercategories of classes in a COCO file; None if it has none."""
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


class SupercategoryAUC(NamedTuple):
    """The chance that a pair of one supercategory is cheaper than a mixed."""

    value: float
    low: float  # 95 % bootstrap interval
    high: float


def distances(matrix: CostMatrix) -> np.ndarray:
    """Distances 1 - IR in double precision, symmetric, 0 on the diagonal."""
    gaps = 1 - matrix.interrelation.astype(np.float64)
    gaps = (gaps + gaps.T) / 2
    np.fill_diagonal(gaps, 0)
    return gaps.clip(min=0)  # a cosine may round above 1


def nearest_categories(
    matrix: CostMatrix, count: int = 3
) -> dict[str, dict[str, float]]:
    """Nearest other categories of each, and their distances, nearest first.

    Those that are not related at all (IR = 0) are all as far and not listed.
    """
    gaps = distances(matrix)
    np.fill_diagonal(gaps, np.inf)
    order = gaps.argsort(axis=1, kind='stable')[:, :count]
    return {
        category: {
            matrix.categories[j]: float(gaps[i, j])
            for j in order[i]
            if gaps[i, j] < 1
        }
        for i, category in enumerate(matrix.categories)
    }


def supercategory_auc(
    matrix: CostMatrix,
    supercategories: Mapping[str, str] | None,
    *,
    num_resamples: int = 500,
    seed: int = 0,
) -> SupercategoryAUC | None:
    """The chance that a same-supercategory pair is cheaper than a mixed one.

    The area under the ROC curve over pairs of foreground categories: 0.5 is
    a coin, 1 a perfect separation. Pairs that share a category are not
    independent, so the interval resamples categories, not pairs; a pair
    weighs as often as both of its categories were drawn. It is None without
    pairs of both kinds.
    """
    if supercategories is None:
        return None
    names = matrix.categories[:-1]
    groups = np.array([supercategories[name] for name in names])
    rows, cols = np.triu_indices(len(names), 1)
    same = groups[rows] == groups[cols]  # (P,)
    if same.all() or not same.any():
        return None
    similarity = matrix.interrelation[rows, cols]
    generator = np.random.default_rng(seed)
    resampled = []
    for _ in range(num_resamples):
        drawn = generator.integers(len(names), size=len(names))
        counts = np.bincount(drawn, minlength=len(names))
        weights = counts[rows] * counts[cols]
        if weights[same].any() and weights[~same].any():
            resampled.append(
                roc_auc_score(same, similarity, sample_weight=weights)
            )
    low, high = np.quantile(resampled or [np.nan], [0.025, 0.975])
    value = roc_auc_score(same, similarity)
    return SupercategoryAUC(float(value), float(low), float(high))
