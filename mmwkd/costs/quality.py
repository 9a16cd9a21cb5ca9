"""How much a cost matrix says about its categories.

All figures are of the distance 1 - IR. The cost grows with it whatever kappa
is, so that what depends on ranks alone holds for the cost too.

Shapes: K categories, background included and last; P pairs i < j of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from mmwkd.costs.cost_matrix import CostMatrix


class Dispersion(NamedTuple):
    """How the off-diagonal distances spread."""

    mean: float
    std: float
    minimum: float
    maximum: float
    variation: float  # std / mean, 0 where all distances are 0


class Neighbour(NamedTuple):
    """A category near another."""

    category: str
    distance: float


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


def dispersion(matrix: CostMatrix) -> Dispersion:
    """Spread of the off-diagonal distances."""
    pairs = np.triu_indices(len(matrix.categories), 1)
    values = distances(matrix)[pairs]  # (P,)
    mean, std = float(values.mean()), float(values.std())
    return Dispersion(
        mean=mean,
        std=std,
        minimum=float(values.min()),
        maximum=float(values.max()),
        variation=std / mean if mean > 0 else 0.0,
    )


def nearest_categories(
    matrix: CostMatrix, count: int = 3
) -> dict[str, tuple[Neighbour, ...]]:
    """Nearest other categories of each, the nearest first.

    Those that are not related at all (IR = 0) are all as far and not listed.

    Args:
        matrix: The matrix.
        count: How many to list at most.

    Returns:
        Neighbours by category.
    """
    gaps = distances(matrix)
    np.fill_diagonal(gaps, np.inf)
    order = gaps.argsort(axis=1, kind='stable')[:, :count]
    return {
        category: tuple(
            Neighbour(matrix.categories[j], float(gaps[i, j]))
            for j in order[i]
            if gaps[i, j] < 1
        )
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
    weighs as often as both of its categories were drawn. Resamples without
    both kinds of pairs are left out.

    Args:
        matrix: The matrix.
        supercategories: Supercategory of each foreground category; None if
            unknown.
        num_resamples: Resamples of the bootstrap.
        seed: Seed of the bootstrap.

    Returns:
        The area and its interval; None without pairs of both kinds.
    """
    if supercategories is None:
        return None
    names = matrix.categories[:-1]
    groups = np.array([supercategories[name] for name in names])
    rows, cols = np.triu_indices(len(names), 1)
    same = groups[rows] == groups[cols]  # (P,)
    if same.all() or not same.any():
        return None
    generator = np.random.default_rng(seed)
    _, ranks = np.unique(matrix.interrelation[rows, cols], return_inverse=True)
    resampled = []
    for _ in range(num_resamples):
        drawn = generator.integers(len(names), size=len(names))
        counts = np.bincount(drawn, minlength=len(names))
        resampled.append(
            _weighted_auc(same, ranks, counts[rows] * counts[cols])
        )
    resampled = [value for value in resampled if np.isfinite(value)]
    value = _weighted_auc(same, ranks, np.ones(len(same)))
    low, high = (
        np.quantile(resampled, [0.025, 0.975])
        if resampled
        else (np.nan, np.nan)
    )
    return SupercategoryAUC(value, float(low), float(high))


def _weighted_auc(
    same: np.ndarray, ranks: np.ndarray, weights: np.ndarray
) -> float:
    """Area under the ROC curve over P pairs; NaN where one kind lacks.

    Ranks are sorted once for all resamples, equal ones for ties.
    """
    high = np.bincount(ranks, weights * same)
    low = np.bincount(ranks, weights * ~same)
    total = high.sum() * low.sum()
    wins = high @ (low.cumsum() - low / 2)  # half of the ties
    return float(wins / total) if total else np.nan
