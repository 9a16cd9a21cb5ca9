"""Assign a device to each of several simultaneous runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from queue import Queue

import torch


def visible_devices() -> list[str]:
    """Devices that this process may use, as ``CUDA_VISIBLE_DEVICES`` has them.

    Returns:
        Indices or UUIDs; none on a machine without a GPU.
    """
    count = torch.cuda.device_count()
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    if visible is None:
        return [str(index) for index in range(count)]
    return [name.strip() for name in visible.split(',')][:count]


class Slots:
    """One slot for each simultaneous run, with its own device.

    Args:
        jobs: Runs at a time.
        devices: Devices to share among them; where there are fewer, some get
            several runs.
    """

    def __init__(self, jobs: int, devices: Sequence[str]) -> None:
        self._free: Queue[str | None] = Queue()
        for device in islice(cycle(devices or [None]), jobs):
            self._free.put(device)

    @contextmanager
    def take(self) -> Iterator[dict[str, str]]:
        """Hold a place, with the environment that a run has in it."""
        device = self._free.get()
        try:
            yield {} if device is None else {'CUDA_VISIBLE_DEVICES': device}
        finally:
            self._free.put(device)
