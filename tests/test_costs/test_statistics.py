import dataclasses

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mmwkd.costs.statistics import (
    ClassStatistics,
    StatisticsPlan,
    hash_key,
    sample_keys,
)

K, D, R = 5, 6, 60
ABSENT = 3  # a category without samples


def plan(**changes):
    options = dict(
        num_categories=K,
        num_features=D,
        scatter='per_class',
        confusion=True,
        cap=4,
    )
    return StatisticsPlan(**{**options, **changes})


@pytest.fixture
def data():
    """Features, labels, probabilities and keys of R samples."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(K - 1, (R,), generator=generator)
    labels[labels == ABSENT] = K - 1
    return dict(
        features=torch.randn(R, D, generator=generator, dtype=torch.float64),
        labels=labels,
        probabilities=torch.rand(R, K, generator=generator),
        keys=sample_keys(hash_key('image'), R),
    )


def gather(data, statistics_plan, *, sizes=(R,), order=None):
    statistics = ClassStatistics(statistics_plan)
    order = torch.arange(R) if order is None else order
    for rows in order.split(list(sizes)):
        statistics.update(
            **{name: rows_of[rows] for name, rows_of in data.items()}
        )
    return statistics


def test_statistics_are_those_of_numpy(data):
    statistics = gather(data, plan())
    for category in range(K):
        own = data['labels'] == category
        features = data['features'][own].numpy()
        assert statistics.counts[category] == own.sum()
        if category == ABSENT:
            assert statistics.counts[category] == 0
            assert not statistics.means[category].any()
            continue
        np.testing.assert_allclose(
            statistics.means[category], features.mean(axis=0)
        )
        np.testing.assert_allclose(
            statistics.scatter[category] / len(features),
            np.cov(features.T, bias=True),
        )
        np.testing.assert_allclose(
            statistics.mean_probabilities()[category],
            data['probabilities'][own].double().mean(dim=0),
        )


def test_pooled_scatter_is_the_sum_over_categories(data):
    pooled = gather(data, plan(scatter='pooled'), sizes=(7, 20, 33))
    assert_close(pooled.scatter[0], gather(data, plan()).scatter.sum(dim=0))


@pytest.mark.parametrize(
    ('scatter', 'projected'),
    [('pooled', None), ('per_class', None), ('per_class', 3)],
)
def test_order_and_batches_do_not_matter(data, scatter, projected):
    options = plan(scatter=scatter, projected_features=projected)
    expected = gather(data, options).state()
    shuffled = gather(
        data,
        options,
        sizes=(1, 0, 12, 40, 7),
        order=torch.randperm(R, generator=torch.Generator().manual_seed(1)),
    ).state()
    assert expected.keys() == shuffled.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(
            shuffled[name], array, rtol=1e-12, atol=1e-12, err_msg=name
        )


def test_projection_is_that_of_the_features(data):
    statistics = gather(data, plan(projected_features=3), sizes=(30, 30))
    projection = statistics._projection
    full = gather(data, plan()).scatter
    assert_close(statistics.scatter, projection.T @ full @ projection)
    other = ClassStatistics(plan(projected_features=3, seed=1))
    assert not torch.equal(other._projection, projection)


def test_large_means_do_not_drown_the_deviations(data):
    data['features'] = data['features'] + 1e6
    statistics = gather(data, plan(), sizes=(20, 20, 20))
    own = data['features'][data['labels'] == 0].numpy()
    np.testing.assert_allclose(
        statistics.scatter[0] / len(own),
        np.cov(own.T, bias=True),
        rtol=1e-6,
        atol=1e-8,
    )


def test_samples_with_the_smallest_keys_are_kept(data):
    statistics = gather(data, plan(), sizes=(13, 40, 7))
    for category in range(K):
        own = (data['labels'] == category).nonzero().flatten()
        smallest = own[data['keys'][own].argsort()[:4]]
        assert_close(
            statistics.kept_samples(category),
            data['features'][smallest].float(),
        )
    assert statistics.kept_samples(ABSENT).shape == (0, D)


@pytest.mark.parametrize(
    'changes',
    [
        {},
        dict(scatter='none', confusion=False, cap=0),
        dict(scatter='pooled', confusion=False),
        dict(projected_features=3),
    ],
)
def test_memory_formula_is_what_is_allocated(changes):
    statistics = ClassStatistics(plan(**changes))
    tensors = [v for v in vars(statistics).values() if torch.is_tensor(v)]
    assert plan(**changes).num_bytes == sum(t.nbytes for t in tensors)


def test_coco_fits_a_gigabyte_as_it_is():
    for changes in (
        dict(scatter='per_class'),
        dict(scatter='pooled'),
        dict(scatter='none', confusion=True),
        dict(scatter='none', cap=256),
    ):
        coco = StatisticsPlan(num_categories=81, num_features=1024, **changes)
        assert coco.num_bytes < 10**9
        assert coco.within(10**9) is coco


@pytest.mark.parametrize('limit', [2**26, 2**30])
@pytest.mark.parametrize('changes', [dict(scatter='per_class'), dict(cap=256)])
def test_lvis_is_made_to_fit(changes, limit):
    lvis = StatisticsPlan(num_categories=1204, num_features=1024, **changes)
    fitted = lvis.within(limit)
    assert 0.95 * limit < fitted.num_bytes <= limit
    assert fitted.within(limit) is fitted


def test_lvis_sized_statistics_are_gathered():
    generator = torch.Generator().manual_seed(0)
    lvis = StatisticsPlan(
        num_categories=1204,
        num_features=256,
        scatter='per_class',
        confusion=True,
    ).within(2**26)
    assert lvis.projected_features < 100
    statistics = ClassStatistics(lvis)
    features = torch.randn(500, 256, generator=generator)
    labels = torch.randint(1204, (500,), generator=generator)
    probabilities = torch.randn(500, 1204, generator=generator).softmax(1)
    for rows in torch.arange(500).split(100):
        statistics.update(
            features[rows], labels[rows], probabilities=probabilities[rows]
        )
    category = labels[0]
    own = features[labels == category].double()
    assert_close(statistics.means[category], own.mean(dim=0))
    assert_close(statistics.probabilities.sum().item(), 500.0)


def test_what_cannot_fit_is_refused():
    lvis = StatisticsPlan(
        num_categories=1204, num_features=1024, scatter='per_class'
    )
    with pytest.raises(
        ValueError,
        match='1204 categories with 1024 features do not fit 9.537 MiB',
    ):
        lvis.within(10**7)


def test_missing_inputs_are_refused(data):
    statistics = ClassStatistics(plan())
    with pytest.raises(ValueError, match='needs probabilities'):
        statistics.update(data['features'], data['labels'])
    statistics = ClassStatistics(plan(confusion=False))
    with pytest.raises(ValueError, match='needs the keys'):
        statistics.update(data['features'], data['labels'])


def test_state_continues_bit_for_bit(data):
    halves = torch.arange(R).split(R // 2)
    expected = gather(data, plan(), sizes=(R // 2, R // 2))
    first = ClassStatistics(plan())
    first.update(**{n: v[halves[0]] for n, v in data.items()})
    second = ClassStatistics(plan())
    second.load_state(first.state())
    second.update(**{n: v[halves[1]] for n, v in data.items()})
    for name, array in expected.state().items():
        np.testing.assert_array_equal(second.state()[name], array, name)


def test_state_of_another_plan_is_refused(data):
    statistics = ClassStatistics(dataclasses.replace(plan(), num_features=7))
    with pytest.raises(
        ValueError, match=r'means must have shape \(5, 7\), got \(5, 6\)'
    ):
        statistics.load_state(gather(data, plan()).state())
    with pytest.raises(ValueError, match='counts must .* got None'):
        statistics.load_state({})


def test_keys_are_reproducible_and_spread():
    key = hash_key(0, 17)
    keys = sample_keys(key, 2000)
    assert torch.equal(sample_keys(key, 10), keys[:10])
    assert keys.min() >= 0
    assert len(keys.unique()) == 2000
    assert abs(keys.double().mean() / 2.0**63 - 0.5) < 0.05
    assert hash_key(0, 17) == key
    assert (
        len({hash_key(0, 18), hash_key(1, 17), hash_key('0', 1, 7), key}) == 4
    )
    assert len(sample_keys(key, 0)) == 0
