"""Both ways of loading: with torch's allow lists, and without them."""

import builtins
import io
import pickle
import zipfile

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from torch.testing import assert_close

from mmwkd.distillers import safe_load
from mmwkd.distillers.safe_load import load_data

WEIGHTS = {
    'float': torch.arange(6.0).reshape(2, 3).T,  # not contiguous
    'half': torch.ones(2, dtype=torch.float16),
    'bfloat': torch.ones(2, dtype=torch.bfloat16),
    'int': torch.tensor(3),
    'bool': torch.tensor([True, False]),
    'empty': torch.zeros(0, 4),
    'parameter': torch.nn.Parameter(torch.ones(2)),
}


class Call:
    """Pickles to the call of a function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.fixture(
    params=[True, False] if safe_load.HAS_ALLOW_LIST else [False],
    ids=lambda listed: 'allow list' if listed else 'restricted unpickler',
)
def way(request, monkeypatch):
    """The ways to load that this torch has."""
    monkeypatch.setattr(safe_load, 'HAS_ALLOW_LIST', request.param)


@pytest.fixture
def reload(tmp_path, way):
    def save_and_load(content, **options):
        path = tmp_path / 'file.pth'
        torch.save(content, path, **options)
        return load_data(path)

    return save_and_load


@pytest.mark.parametrize('archive', [True, False])
def test_tensors_and_plain_data_come_back(reload, archive):
    meta = dict(epoch=3, lr=0.1, classes=('a', 'b'), cfg='x = 1', none=None)
    content = reload(
        dict(state_dict=WEIGHTS, meta=meta, many=list(range(300))),
        _use_new_zipfile_serialization=archive,
    )
    assert content['meta'] == meta
    assert content['many'] == list(range(300))
    assert list(content['state_dict']) == list(WEIGHTS)
    for key, value in WEIGHTS.items():
        assert content['state_dict'][key].dtype == value.dtype
        assert_close(content['state_dict'][key], value)


def test_metadata_of_a_state_dict_comes_back(reload):
    state_dict = torch.nn.Linear(1, 1).state_dict()
    assert reload(state_dict)._metadata == state_dict._metadata


@pytest.mark.parametrize(
    'beside',
    [
        HistoryBuffer([1.0, 2.0], [1, 1]),
        np.array([1.0, 2.0]),
        np.float64(1.0),
        np.array(['a', 'b']),
    ],
    ids=['log buffer', 'array', 'scalar', 'strings'],
)
def test_what_mmengine_logs_is_not_in_the_way(reload, beside):
    content = reload(dict(state_dict=WEIGHTS, beside=beside))
    assert_close(content['state_dict']['float'], WEIGHTS['float'])
    assert type(content['beside']).__name__ == '_Unread'


def test_message_hub_of_a_run_is_not_in_the_way(reload):
    hub = MessageHub.get_instance('test_safe_load')
    hub.update_scalar('train/loss', 1.0)
    hub.update_info('iter', 3)
    content = reload(dict(message_hub=hub.state_dict()))
    assert content['message_hub']['runtime_info']['iter'] == 3


@pytest.mark.parametrize('core', ['core', '_core'])
@pytest.mark.usefixtures('way')
def test_log_buffers_of_either_numpy_are_read(tmp_path, core):
    """NumPy 2 renamed what a pickled array is rebuilt with."""
    path = tmp_path / 'file.pth'
    torch.save(dict(loss=np.array([1.0]), last=np.float64(1.0)), path)
    rewrite_pickle(
        path,
        lambda data: data.replace(b'cnumpy._core.', b'cnumpy.core.').replace(
            b'cnumpy.core.', b'cnumpy.' + core.encode() + b'.'
        ),
    )
    assert set(load_data(path)) == {'loss', 'last'}


@pytest.mark.parametrize(
    'code',
    [
        Call(builtins.eval, '1'),
        Call(np.load, '/no/such/file'),
        Call(torch.load, '/no/such/file'),
        Call(io.open, '/no/such/file'),
        Call(torch.hub.load, 'a/b', 'c'),
    ],
    ids=lambda code: getattr(code.call[0], '__name__', None),
)
@pytest.mark.parametrize('archive', [True, False])
def test_names_of_code_are_refused(reload, code, archive):
    with pytest.raises(pickle.UnpicklingError):
        reload(
            dict(state_dict=WEIGHTS, meta=code),
            _use_new_zipfile_serialization=archive,
        )


def test_getattr_gives_a_file_nothing(reload):
    """Log buffers are written with it; it must not reach their class."""
    content = reload(
        dict(found=Call(getattr, HistoryBuffer, '_set_default_statistics'))
    )
    assert type(content['found']).__name__ == '_Unread'


@pytest.mark.usefixtures('way')
def test_torchscript_is_refused(tmp_path):
    path = tmp_path / 'script.pth'
    torch.jit.script(torch.nn.Linear(1, 1)).save(str(path))
    with pytest.raises(pickle.UnpicklingError, match='TorchScript'):
        load_data(path)


def rewrite_pickle(path, change):
    """Change the pickle in a file of torch.save."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w') as archive:
        for name, data in records.items():
            archive.writestr(
                name, change(data) if name.endswith('data.pkl') else data
            )
