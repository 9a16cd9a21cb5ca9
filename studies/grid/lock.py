"""Keep two processes from working on the same files."""

from __future__ import annotations

import fcntl
from typing import IO, Any


def hold(file: IO[Any], refusal: str) -> None:
    """Lock an open file, until all that have it open have closed it.

    Processes that inherit the file hold the lock along with it.

    Args:
        file: The file.
        refusal: What to say if another process holds it.

    Raises:
        ValueError: If another process holds it.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ValueError(refusal) from error


def wait_for(file: IO[Any]) -> None:
    """Lock an open file as soon as no other process holds it.

    Args:
        file: The file.
    """
    fcntl.flock(file, fcntl.LOCK_EX)
