"""Packages that only some commands need."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Say which extra has a package whose import fails in this context."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or 'mmwkd').partition('.')[0] == 'mmwkd':
            raise
        raise ImportError(
            f'{error.name} is not installed: '
            f"pip install 'mmwkd[{extra}]' brings it"
        ) from error
