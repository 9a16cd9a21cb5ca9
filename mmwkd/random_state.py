"""Draw random numbers without a trace in what is drawn later."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def restored_generators() -> Iterator[None]:
    """Put the generators of Python, NumPy and torch back at the end.

    Those are the generators that building models and loading data draw from,
    which both happen on the CPU.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> with restored_generators():
        ...     first = torch.rand(1)
        >>> bool(torch.rand(1) == first)
        True
    """
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
