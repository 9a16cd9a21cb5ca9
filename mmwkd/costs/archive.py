"""Open an ``.npz`` of anybody's: nothing runs, and memory stays bounded."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import numpy as np
from numpy.lib.npyio import NpzFile


@contextmanager
def open_archive(
    path: str | os.PathLike[str], *, limit: int
) -> Iterator[NpzFile]:
    """Open an archive whose arrays are plain and take at most some memory.

    Sizes are read from the headers, before an array is allocated. What goes
    wrong while the archive is open, because it is damaged or lacks an entry,
    becomes a ValueError too.

    Args:
        path: An ``.npz`` file.
        limit: Bytes that its arrays may take together.

    Yields:
        The archive, which reads an entry when it is asked for.

    Raises:
        ValueError: If it is no such archive, saying what is wrong.
    """
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError('it is no .npz archive')
        with zipfile.ZipFile(path) as archive:
            left = limit
            for info in archive.infolist():
                with archive.open(info) as member:
                    left -= _checked_size(member, info, left)
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except Exception as error:  # damaged bytes make a parser raise anything
        reason = str(error).partition('\n')[0]
        raise ValueError(reason or type(error).__name__) from error


def _checked_size(member: IO[bytes], info: zipfile.ZipInfo, limit: int) -> int:
    """Bytes of an array, from its header; ValueError if it is no plain one."""
    name = info.filename
    # later versions have headers of up to 4 GB, for structured arrays
    if np.lib.format.read_magic(member) != (1, 0):
        raise ValueError(f'entry {name!r} is of another version of NumPy')
    shape, _, dtype = np.lib.format.read_array_header_1_0(member)
    if dtype.hasobject:
        raise ValueError(f'entry {name!r} is a pickle, which is never loaded')
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or not (
        size == info.file_size - member.tell() and size <= limit
    ):
        raise ValueError(f'entry {name!r} claims a size of {shape}')
    return size
