"""Write a file whole or not at all; read a JSON file or name it."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def atomic_write(
    path: str | os.PathLike[str], *, force: bool = False
) -> Iterator[IO[bytes]]:
    """Open a temporary file that becomes ``path`` when the context ends.

    By an exception, by a kill or on a full disk, what was at ``path`` stays
    as it was.

    Args:
        path: File to write; its folder is made if needed.
        force: Whether an existing file may be replaced.

    Yields:
        Binary file to write to.

    Raises:
        FileExistsError: If the file exists and ``force`` is not set.
    """
    path = Path(path)
    _check_free(path, force)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(
        dir=path.parent, prefix=f'.{path.name}.'
    )
    try:
        with os.fdopen(handle, 'wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes it private
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say of which
        raise


def remove_leftovers(
    folder: str | os.PathLike[str], pattern: str = '*'
) -> None:
    """Remove what killed writers left of files of a pattern in a folder."""
    for path in Path(folder).glob(f'.{pattern}.' + 8 * '?'):
        path.unlink(missing_ok=True)


def check_writable(
    path: str | os.PathLike[str], *, force: bool = False
) -> None:
    """Find out before long work whether :func:`atomic_write` would work."""
    path = Path(path)
    _check_free(path, force)
    try:
        if path.is_dir():
            raise IsADirectoryError(f'{path} is a folder')
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise OSError(
            f'{path} cannot be written ({error}); choose another place'
        ) from error


def read_json(path: str | os.PathLike[str]) -> Any:
    """Parse a JSON file in UTF-8; a ValueError names one that is none."""
    try:
        return json.loads(Path(path).read_text(encoding='utf-8'))
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path} is no JSON file: {error}') from error


def _check_free(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise FileExistsError(
            f'{path} exists already; pass force=True (--force) to replace it'
        )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
