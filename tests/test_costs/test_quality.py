import itertools

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mmwkd.costs.inspection import (
    nearest_categories,
    supercategory_auc,
)


def permuted(matrix, make_matrix, order):
    order = [*order, len(order)]  # the background stays last
    return make_matrix(
        matrix.interrelation[np.ix_(order, order)],
        categories=[matrix.categories[i] for i in order],
    )


def brute_force_auc(matrix, families):
    pairs = list(itertools.combinations(range(len(families)), 2))
    names, similar = matrix.categories, matrix.interrelation
    same = [p for p in pairs if families[names[p[0]]] == families[names[p[1]]]]
    mixed = [p for p in pairs if p not in same]
    wins = [
        (similar[a] > similar[b]) + 0.5 * (similar[a] == similar[b])
        for a in same
        for b in mixed
    ]
    return np.mean(wins)


# --- nearest categories -------------------------------------------------


def test_nearest_categories_are_sorted(blocks):
    nearest = nearest_categories(blocks, 2)
    assert list(nearest['cat']) == ['dog', 'bus']
    assert nearest['cat']['dog'] == pytest.approx(0.2)
    assert len(nearest_categories(blocks, 99)['cat']) == 4


def test_unrelated_categories_are_no_neighbours(make_matrix):
    nearest = nearest_categories(make_matrix(np.eye(4)), 3)
    assert all(found == {} for found in nearest.values())


# --- supercategories ----------------------------------------------------


@pytest.mark.parametrize('seed', range(4))
def test_auc_is_the_share_of_pairs_in_order(make_matrix, seed):
    matrix = make_matrix(size=9, seed=seed)
    rounded = make_matrix(np.round(matrix.interrelation, 1))  # ties
    names = matrix.categories[:-1]
    families = {name: 'abc'[i % 3] for i, name in enumerate(names)}
    for one in (matrix, rounded):
        measured = supercategory_auc(one, families, num_resamples=20)
        assert measured.value == pytest.approx(brute_force_auc(one, families))


def test_auc_of_blocks_is_1_and_of_chance_a_half(
    make_matrix, blocks, families
):
    perfect = supercategory_auc(blocks, families)
    assert perfect == (1, 1, 1)
    chance = make_matrix(size=61)
    random = supercategory_auc(
        chance,
        {n: str(i % 6) for i, n in enumerate(chance.categories[:-1])},
        num_resamples=100,
    )
    assert random.value == pytest.approx(0.5, abs=0.05)
    assert random.low < 0.5 < random.high
    assert 0.01 < random.high - random.low < 0.2


def test_a_resample_counts_pairs_as_often_as_they_were_drawn(make_matrix):
    matrix = make_matrix(size=13)
    families = {n: 'ab'[i % 2] for i, n in enumerate(matrix.categories[:-1])}
    drawn = np.random.default_rng(3).integers(12, size=12)
    assert len(set(drawn.tolist())) < 12
    pairs = [(i, j) for i, j in itertools.combinations(drawn, 2) if i != j]
    same = [i % 2 == j % 2 for i, j in pairs]
    expected = roc_auc_score(same, [matrix.interrelation[p] for p in pairs])
    measured = supercategory_auc(matrix, families, num_resamples=1, seed=3)
    assert measured.low == measured.high == pytest.approx(expected)


def test_interval_resamples_categories(make_matrix):
    """One category that is in every wrong pair makes it wide."""
    interrelation = np.kron(np.eye(2), np.full((6, 6), 0.6)) + 0.2
    interrelation[0, 1:6] = interrelation[1:6, 0] = 0.1
    matrix = np.full((13, 13), 0.1)
    matrix[:12, :12] = interrelation
    np.fill_diagonal(matrix, 1)
    matrix = make_matrix(matrix)
    families = {n: str(i // 6) for i, n in enumerate(matrix.categories[:-1])}
    measured = supercategory_auc(matrix, families, num_resamples=200)
    assert measured.value == pytest.approx(25 / 30)
    assert measured.high == 1  # resamples without the culprit
    assert measured.low < 0.75
    again = supercategory_auc(matrix, families, num_resamples=200)
    assert measured == again


@pytest.mark.parametrize('groups', [None, 'aaaa', 'abcd'])
def test_there_is_no_auc_without_pairs_of_both_kinds(blocks, families, groups):
    known = groups and dict(zip(families, groups, strict=True))
    assert supercategory_auc(blocks, known) is None


# --- laws ---------------------------------------------------------------


def test_figures_do_not_depend_on_the_order(make_matrix):
    matrix = make_matrix(size=8)
    order = np.random.default_rng(2).permutation(7)
    other = permuted(matrix, make_matrix, order)
    families = {n: 'ab'[i % 2] for i, n in enumerate(matrix.categories[:-1])}
    assert nearest_categories(matrix) == nearest_categories(other)
    first, second = (
        supercategory_auc(m, families, num_resamples=5)
        for m in (matrix, other)
    )
    assert first.value == pytest.approx(second.value)


def test_non_contiguous_input_is_the_same(make_matrix):
    matrix = make_matrix(size=6)
    wide = np.zeros((6, 12), dtype=np.float32)
    wide[:, ::2] = matrix.interrelation
    strided = make_matrix(wide[:, ::2])
    assert nearest_categories(strided) == nearest_categories(matrix)
