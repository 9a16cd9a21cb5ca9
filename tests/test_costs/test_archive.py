"""Archives that were made to do harm, and those that damage has befallen."""

import io
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mmwkd.costs import CostMatrix
from mmwkd.costs.archive import open_archive
from tests.damage import read_damaged

MIB = 2**20


@pytest.fixture
def intact(tmp_path, make_matrix):
    """A file that is read."""
    path = tmp_path / 'archive.npz'
    make_matrix().save(path)
    return path


def test_damaged_files_are_read_or_refused(intact):
    CostMatrix.load(intact)
    messages = read_damaged(CostMatrix.load, intact, copies=300)
    assert len(messages) > 100
    assert all(str(intact.parent) in message for message in messages)


class Canary:
    """Pickles to something that would create a file when loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def test_pickles_are_never_loaded(intact, tmp_path):
    canary = tmp_path / 'canary'
    hostile = Canary(canary)
    with np.load(intact) as archive:
        entries = dict(archive)
    for name in entries:
        broken = {**entries, name: np.array([hostile], dtype=object)}
        np.savez(intact, **broken)
        with pytest.raises(ValueError, match='a pickle, which is never'):
            CostMatrix.load(intact)
        np.savez(intact, **entries)
        with zipfile.ZipFile(intact, 'a') as archive:
            archive.writestr(f'more_{name}', pickle.dumps(hostile))
        with pytest.raises(ValueError, match='magic string'):
            CostMatrix.load(intact)
    intact.write_bytes(pickle.dumps(hostile))
    with pytest.raises(ValueError, match='no .npz archive'):
        CostMatrix.load(intact)
    assert not canary.exists()


def npy(header, data=b'', version=1):
    """An ``.npy`` with any text for a header."""
    text = header.encode()
    size = len(text).to_bytes(2 if version == 1 else 4, 'little')
    return b'\x93NUMPY' + bytes([version, 0]) + size + text + data


def header(shape, descr='<f4'):
    return repr(dict(descr=descr, fortran_order=False, shape=shape)) + '\n'


@pytest.mark.parametrize(
    ('member', 'message'),
    [
        (npy(header((10**9, 10**9))), 'claims a size'),
        (npy(header((-1, 4))), 'claims a size'),
        (npy(header((-2, -2)), bytes(16)), 'claims a size'),
        (npy(header((4,)), bytes(12)), 'claims a size'),  # too short
        (npy(header((4,)), bytes(20)), 'claims a size'),  # too long
        # an older NumPy takes the type, and the size is refused
        (npy(header((), '<U1000000000')), 'descr|claims a size'),
        (npy(header((2 * MIB,)), bytes(8 * MIB)), 'claims a size'),  # limit
        (npy(header((1,) * 99), bytes(4)), 'dimension'),
        (npy(header((1,), '|O'), bytes(8)), 'is a pickle'),
        (npy(header((4,)), bytes(16), version=2), 'another version'),
        (npy('(' * 9000), 'EOF'),
        (npy('-' * 9000 + '1'), ''),
        (b'', 'magic'),
    ],
)
def test_lies_are_refused_before_they_take_memory(tmp_path, member, message):
    path = tmp_path / 'archive.npz'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('a.npy', member)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message) as refusal:
            with open_archive(path, limit=MIB) as archive:
                archive['a']
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(refusal.value)
    assert '\n' not in str(refusal.value)
    assert peak < 6 * MIB


def test_limit_is_for_all_entries_together(tmp_path):
    path = tmp_path / 'archive.npz'
    np.savez(path, a=np.zeros(100), b=np.zeros(100))
    with open_archive(path, limit=1600) as archive:
        assert archive['b'].shape == (100,)
    with pytest.raises(ValueError, match="'b.npy' claims a size"):
        with open_archive(path, limit=1599):
            pass
    with pytest.raises(ValueError, match='c is not a file in the archive'):
        with open_archive(path, limit=1600) as archive:
            archive['c']


@pytest.mark.parametrize(
    ('offset', 'value', 'message'),
    [
        (8, 99, 'compression'),  # method of the central directory
        (6, 1, 'encrypted'),  # flags
    ],
)
def test_archives_that_numpy_never_writes_are_refused(
    tmp_path, offset, value, message
):
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    content = bytearray(buffer.getvalue())
    local, central = content.find(b'PK\3\4'), content.find(b'PK\1\2')
    content[local + offset] = content[central + offset + 2] = value
    path = tmp_path / 'archive.npz'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        with open_archive(path, limit=MIB):
            pass


def test_a_bomb_needs_as_many_names_as_categories(tmp_path):
    path = tmp_path / 'bomb.npz'
    count = 6000
    np.savez_compressed(
        path,
        schema_version=np.int64(1),
        categories=np.zeros(count, dtype='<U10'),
        interrelation=np.zeros((count, count), dtype=np.float32),
        samples=np.zeros(0),
        **dict.fromkeys(
            ['estimator', 'teacher_config', 'checkpoint_sha256'], np.str_('')
        ),
        **dict.fromkeys(['options', 'versions'], np.str_('{}')),
    )
    assert path.stat().st_size < MIB
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="must end with 'background'"):
            CostMatrix.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * MIB  # the matrix has 137


@pytest.mark.parametrize(
    ('name', 'value', 'message'),
    [
        ('options', np.str_('[1]'), "'options' is no JSON object"),
        ('versions', np.str_('{'), 'Expecting'),
        ('options', np.str_('[' * 100_000), 'recursion'),
        ('schema_version', np.zeros(3), ''),
        ('categories', np.str_('cat'), ''),
    ],
)
def test_texts_of_a_cost_matrix_are_checked(intact, name, value, message):
    with np.load(intact) as archive:
        entries = dict(archive)
    np.savez(intact, **{**entries, name: value})
    with pytest.raises(ValueError, match=f'not a usable .*{message}'):
        CostMatrix.load(intact)
