"""Read numbers of a device without making the host wait for them."""

from typing import Any

import torch
from torch import Tensor


class LateValues:
    """Numbers on their way to the host.

    On a CPU they are there at once. A GPU copies them when it has come so
    far, and says when it did. Of other devices it is only known that a step
    later they have most probably come so far.

    Args:
        values: Few numbers, of any shape.
    """

    def __init__(self, values: Tensor) -> None:
        self._values = values
        self._asked = values.device.type == 'cpu'
        self._copied: Any = None
        if values.device.type == 'cuda':
            # of pinned memory a copy does not wait
            self._values = torch.empty(
                values.shape, dtype=values.dtype, pin_memory=True
            )
            self._values.copy_(values, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record()

    def ready(self) -> bool:
        """Whether reading them makes nobody wait."""
        if self._copied is not None:
            return bool(self._copied.query())
        asked, self._asked = self._asked, True
        return asked

    def tolist(self) -> list[Any]:
        """The numbers, as nested lists; to be called when they are ready."""
        return self._values.tolist()
