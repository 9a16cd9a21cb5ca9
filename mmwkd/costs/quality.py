"""How much a cost matrix says about its categories.

All figures are of the distance 1 - IR. The cost grows with it whatever kappa
is, so that what depends on ranks alone holds for the cost too.

Shapes: K categories, background included and last; P pairs i < j of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mmwkd.costs.cost_matrix import CostMatrix

# interrelations are float32: a smaller spread is none
_ROUNDING = 1e-7


class Dispersion(NamedTuple):
    """How the off-diagonal distances spread."""

    mean: float
    std: float
    minimum: float
    maximum: float
    variation: float  # std / mean, 0 where all distances are 0
    row_share: float  # of the variance; 0 where there is none


class Neighbour(NamedTuple):
    """A category near another."""

    category: str
    distance: float


class SupercategoryAUC(NamedTuple):
    """The chance that a pair of one supercategory is cheaper than a mixed."""

    value: float
    low: float  # 95 % bootstrap interval
    high: float


@dataclass(frozen=True)
class Quality:
    """What :func:`measure_quality` finds out about a cost matrix."""

    dispersion: Dispersion
    effective_rank: float  # between 1 and K
    neighbours: Mapping[str, tuple[Neighbour, ...]]  # nearest first
    supercategory_auc: SupercategoryAUC | None  # if there are pairs


def measure_quality(
    matrix: CostMatrix,
    supercategories: Mapping[str, str] | None = None,
    *,
    num_neighbours: int = 3,
    num_resamples: int = 500,
    seed: int = 0,
) -> Quality:
    """Measure how much a cost matrix says.

    Args:
        matrix: The matrix.
        supercategories: Supercategory of each foreground category; None if
            unknown.
        num_neighbours: Nearest categories to list for each.
        num_resamples: Resamples of the bootstrap interval.
        seed: Seed of the bootstrap.

    Returns:
        The figures.

    Raises:
        ValueError: If a category has no supercategory.
    """
    return Quality(
        dispersion=dispersion(matrix),
        effective_rank=effective_rank(matrix.interrelation),
        neighbours=nearest_categories(matrix, num_neighbours),
        supercategory_auc=supercategory_auc(
            matrix, supercategories, num_resamples=num_resamples, seed=seed
        ),
    )


def distances(matrix: CostMatrix) -> np.ndarray:
    """Distances 1 - IR in double precision, symmetric, 0 on the diagonal."""
    gaps = 1 - matrix.interrelation.astype(np.float64)
    gaps = (gaps + gaps.T) / 2
    np.fill_diagonal(gaps, 0)
    return gaps.clip(min=0)  # a cosine may round above 1


def dispersion(matrix: CostMatrix) -> Dispersion:
    r"""Spread of the off-diagonal distances.

    ``row_share`` is the share of their variance that the least-squares fit
    :math:`d_{ij} \approx a_i + a_j` explains: a matrix near 1 knows which
    categories are far from everything, but not which belong together. With
    three categories or fewer it is 1, for there is nothing left to explain.

    Args:
        matrix: The matrix.

    Returns:
        The spread.
    """
    gaps = distances(matrix)
    rows, cols = _pairs(matrix)
    values = gaps[rows, cols]  # (P,)
    mean, std = float(values.mean()), float(values.std())
    share = 0.0
    if std > _ROUNDING:
        unexplained = values - _additive_fit(gaps)[rows, cols]
        share = 1 - unexplained.var() / values.var()
    return Dispersion(
        mean=mean,
        std=std,
        minimum=float(values.min()),
        maximum=float(values.max()),
        variation=std / mean if mean > 0 else 0.0,
        row_share=float(share),
    )


def _additive_fit(gaps: np.ndarray) -> np.ndarray:
    """Least-squares fit of a_i + a_j to off-diagonals, of shape (K, K).

    Its normal equations are ``(K - 2) a_i + sum(a) = row sum i``.
    """
    size = len(gaps)
    sums = gaps.sum(axis=1)  # (K,), the diagonal is 0
    if size == 2:
        effects = sums / 2
    else:
        effects = (sums - sums.sum() / (2 * size - 2)) / (size - 2)
    return effects[:, None] + effects


def effective_rank(interrelation: np.ndarray) -> float:
    """Number of directions that a similarity matrix spreads over.

    It is the exponential of the entropy of the eigenvalues, normalised to
    sum to 1: K for the identity, 1 for a matrix of ones.

    Args:
        interrelation: Symmetric similarities, of shape (K, K). Negative
            eigenvalues, which clamped cosines may have, count as 0.

    Returns:
        Rank between 1 and K.
    """
    eigenvalues = np.linalg.eigvalsh(interrelation.astype(np.float64))
    weights = eigenvalues.clip(min=0)
    weights = weights[weights > 0] / weights.sum()
    return float(np.exp(-(weights * np.log(weights)).sum()))


def nearest_categories(
    matrix: CostMatrix, count: int
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
        supercategories: Supercategory of each foreground category.
        num_resamples: Resamples of the bootstrap.
        seed: Seed of the bootstrap.

    Returns:
        The area and its interval; None without pairs of both kinds.

    Raises:
        ValueError: If a category has no supercategory.
    """
    if supercategories is None:
        return None
    names = matrix.categories[:-1]
    unknown = [name for name in names if name not in supercategories]
    if unknown:
        raise ValueError(
            f'category {unknown[0]!r} of the cost matrix has no '
            f'supercategory ({len(unknown)} of {len(names)} have none)'
        )
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
    """Area under the ROC curve; NaN without pairs of one of the kinds.

    Args:
        same: Whether a pair is of the kind to be ranked higher, (P,).
        ranks: Its rank from 0 on, the same for ties, (P,).
        weights: Its weight, (P,).
    """
    high = np.bincount(ranks, weights * same)
    low = np.bincount(ranks, weights * ~same)
    total = high.sum() * low.sum()
    wins = high @ (low.cumsum() - low / 2)  # half of the ties
    return float(wins / total) if total else np.nan


def _pairs(matrix: CostMatrix) -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(len(matrix.categories), 1)
