import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mmwkd.costs.statistics import ClassStatistics, hash_key, sample_keys

K, D, R = 5, 6, 60
ABSENT = 3  # a category without samples


def statistics_of(cap=4):
    return ClassStatistics(K, D, cap=cap)


@pytest.fixture
def data():
    """Features, labels and keys of R samples."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(K - 1, (R,), generator=generator)
    labels[labels == ABSENT] = K - 1
    return dict(
        features=torch.randn(R, D, generator=generator, dtype=torch.float64),
        labels=labels,
        keys=sample_keys(hash_key('image'), R),
    )


def gather(data, *, sizes=(R,), order=None):
    statistics = statistics_of()
    order = torch.arange(R) if order is None else order
    for rows in order.split(list(sizes)):
        statistics.update(
            **{name: rows_of[rows] for name, rows_of in data.items()}
        )
    return statistics


def test_statistics_are_those_of_numpy(data):
    statistics = gather(data)
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


def tensors_of(statistics):
    """What statistics hold, by name."""
    return {
        name: value
        for name, value in vars(statistics).items()
        if torch.is_tensor(value)
    }


def test_order_and_batches_do_not_matter(data):
    expected = gather(data)
    shuffled = gather(
        data,
        sizes=(1, 0, 12, 40, 7),
        order=torch.randperm(R, generator=torch.Generator().manual_seed(1)),
    )
    assert len(tensors_of(expected)) == 4
    for name, tensor in tensors_of(expected).items():
        np.testing.assert_allclose(
            tensors_of(shuffled)[name],
            tensor,
            rtol=1e-12,
            atol=1e-12,
            err_msg=name,
        )


def test_samples_with_the_smallest_keys_are_kept(data):
    statistics = gather(data, sizes=(13, 40, 7))
    for category in range(K):
        own = (data['labels'] == category).nonzero().flatten()
        smallest = own[data['keys'][own].argsort()[:4]]
        assert_close(
            statistics.kept_samples(category),
            data['features'][smallest].float(),
        )
    assert statistics.kept_samples(ABSENT).shape == (0, D)


@pytest.mark.parametrize('cap', [0, 7])
def test_memory_is_what_is_documented(cap):
    statistics = statistics_of(cap=cap)
    held = sum(t.nbytes for t in tensors_of(statistics).values())
    assert held == 8 * K * (D + 1) + K * cap * (4 * D + 8)


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
