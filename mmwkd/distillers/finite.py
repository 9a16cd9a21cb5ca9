"""Say what is not finite: the teacher's output, or an annotation."""

import logging
import sys
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from mmdet.structures.bbox import get_box_tensor
from mmengine.logging import print_log
from torch import Tensor

from mmwkd.distillers.late import LateValues


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

        ``tensors`` are what the teacher made, by names for the message.
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
    if sentence := _broken_boxes(step.data_samples):
        raise ValueError(sentence)
    for name, finite in zip(step.names, tensors, strict=True):
        if not finite:
            raise FloatingPointError(
                f"the teacher's {name} is not finite on the images "
                f'{_files_of(step.data_samples)}; check the checkpoint, its '
                'normalisation, and whether it fits half precision'
            )


def explain(error: BaseException, data_samples: Any) -> None:
    """Add to an error of a training pass what is known of its cause."""
    try:
        sentence = _broken_boxes(data_samples)
    except Exception:  # a device that ran out of memory, or was lost
        return
    if sentence is None:
        return
    if sys.version_info >= (3, 11):
        error.add_note(f'mmwkd: {sentence}')
    else:
        print_log(f'mmwkd: {sentence}', 'current', level=logging.ERROR)


def _broken_boxes(data_samples: Any) -> str | None:
    """Say which image has a ground truth that is not finite; None for none.

    It explains errors, so it raises none, whatever the samples are.
    """
    for sample in data_samples if isinstance(data_samples, Sequence) else ():
        boxes = getattr(getattr(sample, 'gt_instances', None), 'bboxes', None)
        if boxes is not None and not get_box_tensor(boxes).isfinite().all():
            return (
                'a box in the annotations of the image '
                f'{_files_of([sample])} is not finite; correct or remove it'
            )
    return None


def _files_of(data_samples: Any) -> str:
    """Names of the files of a batch, as far as its samples tell them."""
    if not isinstance(data_samples, Sequence):
        return 'of this batch'
    names = []
    for sample in data_samples:
        metainfo = getattr(sample, 'metainfo', {})
        number = metainfo.get('img_id', 'of unknown file')
        names.append(str(metainfo.get('img_path', number)))
    return ', '.join(names)
