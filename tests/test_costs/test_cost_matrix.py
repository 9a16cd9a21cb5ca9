import json
import os

import numpy as np
import pytest
from torch.testing import assert_close

from mmwkd.costs import BACKGROUND, CostMatrix
from mmwkd.functional import interrelation_to_cost

CATEGORIES = ('cat', 'dog', 'bus', BACKGROUND)


def interrelation(size=4):
    matrix = np.random.default_rng(0).uniform(0, 0.9, (size, size))
    matrix = (matrix + matrix.T) / 2
    np.fill_diagonal(matrix, 1)
    return matrix.astype(np.float32)


def make(**fields):
    return CostMatrix(
        **{
            **dict(
                categories=CATEGORIES,
                interrelation=interrelation(),
                estimator='centroid',
            ),
            **fields,
        }
    )


def test_round_trip_keeps_everything(tmp_path):
    matrix = make(
        options=dict(tensor='logits', cap=100),
        teacher_config='faster-rcnn.py',
        checkpoint_sha256='ab' * 32,
        samples=np.array([5, 0, 7, 9]),
        versions=dict(torch='2.13.0'),
    )
    matrix.save(tmp_path / 'folder' / 'cost.npz')
    loaded = CostMatrix.load(tmp_path / 'folder' / 'cost.npz')
    for name in (
        'categories',
        'estimator',
        'options',
        'teacher_config',
        'checkpoint_sha256',
        'versions',
    ):
        assert getattr(loaded, name) == getattr(matrix, name), name
    np.testing.assert_array_equal(loaded.interrelation, matrix.interrelation)
    np.testing.assert_array_equal(loaded.samples, matrix.samples)


def test_cost_applies_kappa(tmp_path):
    import torch

    matrix = make()
    assert_close(
        matrix.cost(2.0),
        interrelation_to_cost(torch.from_numpy(matrix.interrelation), 2.0),
    )


def test_existing_file_is_kept_unless_forced(tmp_path):
    path = tmp_path / 'cost.npz'
    make().save(path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match='--force'):
        make(estimator='classifier').save(path)
    assert path.read_bytes() == before
    make(estimator='classifier').save(path, force=True)
    assert CostMatrix.load(path).estimator == 'classifier'


def test_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'cost.npz'
    make().save(path)
    before = path.read_bytes()

    def full_disk(descriptor):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full_disk)
    with pytest.raises(OSError, match='No space left'):
        make(estimator='classifier').save(path, force=True)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ['cost.npz']


def broken(change):
    matrix = interrelation()
    change(matrix)
    return matrix


def set_pair(value):

    def change(matrix):
        matrix[0, 2] = matrix[2, 0] = value

    return change


@pytest.mark.parametrize(
    ('matrix', 'message'),
    [
        (broken(set_pair(np.nan)), r'entry \(cat, bus\) = nan is not finite'),
        (broken(set_pair(-0.5)), r'entry \(cat, bus\) = -0.5 is negative'),
        (broken(set_pair(1.5)), r'entry \(cat, bus\) = 1.5 is above 1'),
        (
            broken(lambda m: m.__setitem__((1, 2), 0.95)),
            r'entry \(dog, bus\) = 0.95 is not equal to its transpose',
        ),
        (
            broken(lambda m: m.__setitem__((1, 1), 0.5)),
            r'entry \(dog, dog\) = 0.5 is not 1',
        ),
        (interrelation(3), r'square, \(4, 4\) .*, got shape \(3, 3\)'),
        (interrelation()[:3], r'got shape \(3, 4\)'),
        (np.eye(4, dtype=np.int64), 'must be of floats'),
    ],
)
def test_bad_matrices_are_refused(matrix, message):
    with pytest.raises(ValueError, match=message):
        make(interrelation=matrix)


@pytest.mark.parametrize(
    ('categories', 'message'),
    [
        (('cat', 'dog', 'bus', 'car'), "must end with 'background'"),
        (('cat', 'cat', 'bus', BACKGROUND), 'must be unique'),
    ],
)
def test_bad_categories_are_refused(categories, message):
    with pytest.raises(ValueError, match=message):
        make(categories=categories)


def test_other_class_lists_are_refused():
    make().check_categories(('cat', 'dog', 'bus'))
    with pytest.raises(ValueError, match="class 0 is 'cat' instead of 'dog'"):
        make().check_categories(('dog', 'cat', 'bus'))
    with pytest.raises(ValueError, match='3 classes instead of 2'):
        make().check_categories(('cat', 'dog'))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match='does not exist'):
        CostMatrix.load(tmp_path / 'none.npz')
    (tmp_path / 'text.npz').write_text('hello')
    with pytest.raises(ValueError, match='not a usable cost matrix'):
        CostMatrix.load(tmp_path / 'text.npz')
    np.savez(tmp_path / 'other.npz', values=np.ones(3))
    with pytest.raises(ValueError, match='schema_version is not a file'):
        CostMatrix.load(tmp_path / 'other.npz')


def test_truncated_file_is_refused(tmp_path):
    path = tmp_path / 'cost.npz'
    make().save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match='not a usable cost matrix'):
        CostMatrix.load(path)


def test_newer_schema_is_refused(tmp_path):
    path = tmp_path / 'cost.npz'
    make().save(path)
    with np.load(path) as archive:
        entries = dict(archive)
    entries['schema_version'] = np.int64(99)
    np.savez(path, **entries)
    with pytest.raises(ValueError, match='schema version 99'):
        CostMatrix.load(path)


@pytest.mark.parametrize(
    ('estimator', 'options'),
    [
        ('centroid_kernel', dict(cap=0, projected_features=None)),
        ('whitened_centroid', dict(cap=0, projected_features=None)),
        ('covariance', dict(cap=0, projected_features=16)),
    ],
)
def test_files_of_version_0_1_load(tmp_path, estimator, options):
    """Also those of estimators that are no more."""
    path = tmp_path / 'cost.npz'
    np.savez_compressed(
        path,
        schema_version=np.int64(1),
        categories=np.array(CATEGORIES, dtype=np.str_),
        interrelation=interrelation(),
        estimator=np.str_(estimator),
        options=np.str_(json.dumps({**options, 'fallback': []})),
        teacher_config=np.str_('faster-rcnn.py'),
        checkpoint_sha256=np.str_('ab' * 32),
        samples=np.array([5, 6, 7, 80]),
        versions=np.str_(json.dumps(dict(mmwkd='0.1.0'))),
    )
    matrix = CostMatrix.load(path)
    assert (matrix.categories, matrix.estimator) == (CATEGORIES, estimator)
    assert (
        matrix.options['projected_features'] == (options['projected_features'])
    )
    np.testing.assert_array_equal(matrix.interrelation, interrelation())
    assert matrix.cost(2.0).shape == (4, 4)
