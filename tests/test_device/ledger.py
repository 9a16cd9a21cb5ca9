"""What a computation does to a device, counted while it runs."""

from __future__ import annotations

import sys
import traceback
import weakref
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ROOT = Path(__file__).resolve().parents[2]


class Ledger(TorchDispatchMode):
    """Memory, copies from and to the host and mixed devices, by line.

    Args:
        device: Type of the device that is watched.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device
        self.live = self.peak = self.operators = 0
        self.copies_from_host: list[str] = []
        self.waits: list[str] = []
        self._known: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.operators += 1
        for each in tree_leaves((args, kwargs)):
            if self._type(each) == self.device:
                self._enter(each.untyped_storage(), new=False)
        for each in tree_leaves(result):
            if self._type(each) == self.device:
                self._enter(each.untyped_storage(), new=True)
        if func.overloadpacket.__name__ in ('_to_copy', 'copy_'):
            source = (
                args[0]
                if func.overloadpacket.__name__ == '_to_copy'
                else args[1]
            )
            if self._type(source) != self._type(result):
                on_device = self._type(result) == self.device
                log = self.copies_from_host if on_device else self.waits
                log.append(_line())
        return result

    @staticmethod
    def _type(value) -> str | None:
        if isinstance(value, torch.Tensor):
            return value.device.type
        return None

    def _enter(self, storage, *, new: bool) -> None:
        key = storage._cdata
        if key in self._known:
            return
        self._known.add(key)
        size = storage.nbytes() if new else 0
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._leave, key, size)

    def _leave(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


def _line() -> str:
    """The innermost line of the package that is at work."""
    frame = sys._getframe()
    for entry in reversed(traceback.extract_stack(frame)):
        path = Path(entry.filename)
        if path.is_relative_to(ROOT / 'mmwkd'):
            return f'{path.relative_to(ROOT)}:{entry.lineno} {entry.line}'
    return 'outside of the package'
