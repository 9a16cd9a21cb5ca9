"""Unpickle tensors and plain data of a checkpoint, with any torch.

Beside weights, mmengine writes its log buffers: objects of its own that hold
NumPy arrays. Nobody needs them here, so what they are made of is not read. A
torch without lists of allowed names (older than 2.6) gets an unpickler that
looks up nothing else than what that torch itself calls safe.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import torch
from mmengine.utils import digit_version
from torch import _weights_only_unpickler

HAS_ALLOW_LIST = digit_version(torch.__version__) >= digit_version('2.6')

# mmengine's own list of safe names has getattr, through which a file reaches
# more than data; NumPy 1 and 2 write different names
_LOG_BUFFERS = [
    '_codecs.encode',
    'builtins.getattr',
    'builtins.slice',
    'mmengine.logging.history_buffer.HistoryBuffer',
    'numpy.dtype',
    'numpy.ndarray',
    *(
        f'numpy.{core}.multiarray.{name}'
        for core in ('core', '_core')
        for name in ('_reconstruct', 'scalar')
    ),
]


def load_data(path: Path) -> Any:
    """Load a file of ``torch.save`` onto the CPU without executing it.

    Log buffers and NumPy arrays become empty placeholders. A file of more
    than tensors, plain data and log buffers is a pickle.UnpicklingError.
    """
    _refuse_torchscript(path)
    if HAS_ALLOW_LIST:
        names: list[Any] = [(_Unread, name) for name in _LOG_BUFFERS]
        with torch.serialization.safe_globals(names):
            return torch.load(path, map_location='cpu', weights_only=True)
    return torch.load(
        path,
        map_location='cpu',
        weights_only=False,
        pickle_module=SimpleNamespace(
            __name__='restricted', Unpickler=_Unpickler, load=_load
        ),
    )


class _Unread:
    """Takes the place of what is not read, whatever it is made of."""

    def __new__(cls, *args: object) -> _Unread:
        return super().__new__(cls)

    def __init__(self, *args: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class _Unpickler(pickle.Unpickler):
    """Knows the names that torch calls safe, and no others."""

    def find_class(self, module: str, name: str) -> Any:
        # the names of Python 2, in which torch.save writes
        full_name = f'{module}.{name}'.replace('__builtin__.', 'builtins.')
        if full_name in _LOG_BUFFERS:
            return _Unread
        safe = _weights_only_unpickler._get_allowed_globals()
        if full_name not in safe:
            raise pickle.UnpicklingError(f'{full_name} is not plain data')
        return safe[full_name]


def _load(file: IO[bytes], **options: Any) -> Any:
    return _Unpickler(file, **options).load()


def _refuse_torchscript(path: Path) -> None:
    """torch.load would run such a program, whatever it is asked for."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(Path(name).name == 'constants.pkl' for name in names):
            raise pickle.UnpicklingError('it is a TorchScript program')
