"""Refuse a teacher whose output is not finite, without stopping the device."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmwkd.distillers.late import LateValues
from mmwkd.distillers.refusals import broken_boxes, files_of


class _Step(NamedTuple):
    names: tuple[str, ...]
    data_samples: Any
    finite: LateValues  # of all losses, then of each tensor


class FiniteCheck:
    """Stop a run that a teacher's NaN or infinity would spoil.

    Every step leaves a few flags on the device, which are judged when they
    are ready: on a CPU at once, on a GPU at one of the next steps. Overflow
    of the student alone is for the loss scaler to handle.
    """

    def __init__(self) -> None:
        self._pending: deque[_Step] = deque()

    @torch.no_grad()
    def __call__(
        self,
        losses: Iterable[Tensor],
        tensors: Mapping[str, Tensor],
        data_samples: Any,
    ) -> None:
        """Take in one step, and judge those that are ready.

        Args:
            losses: Distillation losses of the step, each of shape ().
            tensors: What the teacher made, by a name for the message.
            data_samples: The samples of the step, whose files are named.
        """
        # one number for all tells: NaN and infinity survive a sum
        sums = [
            each.sum(dtype=torch.promote_types(each.dtype, torch.float32))
            for each in (torch.stack(list(losses)), *tensors.values())
        ]
        finite = LateValues(torch.stack(sums).isfinite())
        self._pending.append(_Step(tuple(tensors), data_samples, finite))
        while self._pending and self._pending[0].finite.ready():
            _judge(self._pending.popleft())


def _judge(step: _Step) -> None:
    losses, *tensors = step.finite.tolist()
    if losses:
        return
    if sentence := broken_boxes(step.data_samples):
        raise ValueError(sentence)
    for name, finite in zip(step.names, tensors, strict=True):
        if not finite:
            files = ', '.join(files_of(step.data_samples))
            raise FloatingPointError(
                f"the teacher's {name} is not finite on the images "
                f'{files}; check the checkpoint, its '
                'normalisation, and whether it fits half precision'
            )
