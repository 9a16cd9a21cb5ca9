"""How much a cost matrix says about its categories.

All figures are of the distance 1 - IR. The cost grows with it whatever kappa
is, so that what depends on ranks alone holds for the cost too.

Shapes: K categories, background included and last; P pairs i < j of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mmwkd.configs import first_difference
from mmwkd.costs.cost_matrix import CostMatrix
from mmwkd.extras import needs_extra

with needs_extra('cost'):
    from scipy.stats import pearsonr, rankdata, spearmanr

# interrelations are float32: a smaller spread is none
_ROUNDING = 1e-7


class UndefinedFigureError(ValueError):
    """A figure has no value on this input, for the reason it says."""


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
    num_same: int  # pairs of one supercategory
    num_mixed: int


@dataclass(frozen=True)
class Quality:
    """What :func:`measure_quality` finds out about a cost matrix."""

    dispersion: Dispersion
    effective_rank: float  # between 1 and K
    neighbours: Mapping[str, tuple[Neighbour, ...]]  # nearest first
    supercategory_auc: SupercategoryAUC | None
    no_auc: str  # why there is none


class DifferingPair(NamedTuple):
    """Two categories whose rank among all pairs differs."""

    categories: tuple[str, str]
    distances: tuple[float, float]  # in the first and the second matrix
    shift: float  # share of all pairs that it is farther in the second


@dataclass(frozen=True)
class Comparison:
    """How two cost matrices of the same categories agree."""

    spearman: float | None  # None where one of them is constant
    pearson: float | None
    differing: tuple[DifferingPair, ...]  # the largest shift first


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
        The figures; without supercategories of several categories, there is
        no AUC, and ``no_auc`` says why.

    Raises:
        ValueError: If a category has no supercategory.
    """
    auc, reason = None, ''
    try:
        auc = supercategory_auc(
            matrix, supercategories, num_resamples=num_resamples, seed=seed
        )
    except UndefinedFigureError as error:
        reason = str(error)
    return Quality(
        dispersion=dispersion(matrix),
        effective_rank=effective_rank(matrix.interrelation),
        neighbours=nearest_categories(matrix, num_neighbours),
        supercategory_auc=auc,
        no_auc=reason,
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
) -> SupercategoryAUC:
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
        The area and its interval.

    Raises:
        UndefinedFigureError: If there are no pairs of one of the two kinds.
        ValueError: If a category has no supercategory.
    """
    if supercategories is None:
        raise UndefinedFigureError('no supercategories are known')
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
        kinds = len(set(groups.tolist()))
        raise UndefinedFigureError(
            f'{len(names)} categories in {kinds} supercategor'
            f'{"y" if kinds == 1 else "ies"} make no pairs to compare: '
            f'{"all" if same.all() else "none"} are of one supercategory'
        )
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
    return SupercategoryAUC(
        value, float(low), float(high), int(same.sum()), int((~same).sum())
    )


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


def compare_matrices(
    first: CostMatrix, second: CostMatrix, *, num_pairs: int = 10
) -> Comparison:
    """Compare two matrices of the same categories.

    Args:
        first: A matrix.
        second: Another one of the same categories in the same order.
        num_pairs: Number of differing pairs to list.

    Returns:
        Correlations of the off-diagonal distances, and the pairs whose rank
        differs most: ranks, because estimators differ in scale.

    Raises:
        ValueError: If the categories differ, naming the first difference.
    """
    if first.categories != second.categories:
        difference = first_difference(second.categories, first.categories)
        raise ValueError(
            'only matrices of the same categories in the same order can be '
            f'compared; the second has {difference}'
        )
    rows, cols = _pairs(first)
    a = distances(first)[rows, cols]  # (P,)
    b = distances(second)[rows, cols]  # (P,)
    shifts = (rankdata(b) - rankdata(a)) / len(a)
    order = np.argsort(-np.abs(shifts), kind='stable')[:num_pairs]
    return Comparison(
        spearman=_correlation(spearmanr, a, b),
        pearson=_correlation(pearsonr, a, b),
        differing=tuple(
            DifferingPair(
                (first.categories[rows[k]], first.categories[cols[k]]),
                (float(a[k]), float(b[k])),
                float(shifts[k]),
            )
            for k in order
        ),
    )


def _pairs(matrix: CostMatrix) -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(len(matrix.categories), 1)


def _correlation(
    function: Callable[[np.ndarray, np.ndarray], Any],
    a: np.ndarray,
    b: np.ndarray,
) -> float | None:
    """A correlation, None where it is undefined."""
    if len(a) < 2 or np.ptp(a) < _ROUNDING or np.ptp(b) < _ROUNDING:
        return None
    return float(function(a, b).statistic)
