"""States of the random number generators of a process, as plain data."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def generator_states() -> dict[str, Any]:
    """States of Python's, NumPy's and torch's generators, as plain data.

    ``cuda`` is that of the current device; None before CUDA is used.
    """
    state: Any = np.random.get_state()
    name, keys, *rest = state
    has_cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
    return dict(
        python=random.getstate(),
        numpy=(name, torch.tensor(keys.astype(np.int64)), *rest),
        torch=torch.get_rng_state(),
        cuda=torch.cuda.get_rng_state() if has_cuda else None,
    )


def restore_generators(states: dict[str, Any]) -> None:
    """Put the generators where :func:`generator_states` found them."""
    random.setstate(states['python'])
    name, keys, *rest = states['numpy']
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states['torch'].cpu())
    if states['cuda'] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(states['cuda'].cpu())


@contextmanager
def restored_generators() -> Iterator[None]:
    """Put all generators back at the end, as if nothing had been drawn.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> with restored_generators():
        ...     first = torch.rand(1)
        >>> bool(torch.rand(1) == first)
        True
    """
    states = generator_states()
    try:
        yield
    finally:
        restore_generators(states)
