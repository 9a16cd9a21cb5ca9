"""Read the log of a training: mmengine's ``scalars.json``.

One JSON object per line. Training lines have ``iter`` and losses; validation
lines have ``step`` and ``coco/...`` metrics. A resumed training opens a new
folder, named by its time, with a file of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from studies.grid.accuracy import Accuracy


class TrainPoint(NamedTuple):
    """Losses at one iteration, averaged over mmengine's log window."""

    iteration: int
    loss: float  # the sum that is minimised
    terms: Mapping[str, float]  # its parts: loss_cls, loss_wkd_..., ...


class Validation(NamedTuple):
    """The accuracy after one iteration."""

    iteration: int
    accuracy: Accuracy


class History(NamedTuple):
    """The progress of a training."""

    train: tuple[TrainPoint, ...] = ()
    validations: tuple[Validation, ...] = ()

    @property
    def iteration(self) -> int:
        """The last iteration that was logged; 0 before the first."""
        return max(self._iterations(), default=0)

    def ap_at(self, iteration: int) -> float | None:
        """Box AP of the validation after an iteration; None without one."""
        for validation in self.validations:
            if validation.iteration == iteration:
                return validation.accuracy.ap
        return None

    def _iterations(self) -> list[int]:
        return [
            *(point.iteration for point in self.train),
            *(point.iteration for point in self.validations),
        ]


def read_history(work_dir: Path) -> History:
    """Read all that the trainings in a work_dir have logged.

    Where a resumed training has repeated iterations, its numbers count.
    """
    history = History()
    for file in sorted(work_dir.glob('*/vis_data/scalars.json')):
        later = parse_scalars(file.read_text(encoding='utf-8'))
        history = _continued(history, later)
    return history


def parse_scalars(text: str) -> History:
    """Parse the content of one ``scalars.json``.

    The last line may be incomplete, because a training is being read while it
    writes, or was killed; it is left out then.

    Raises:
        ValueError: If any other line is no record, with its number.
    """
    train, validations = [], []
    for record in _records(text.splitlines()):
        if 'loss' in record:
            train.append(
                TrainPoint(
                    record['iter'],
                    record['loss'],
                    {
                        name: value
                        for name, value in record.items()
                        if name.startswith('loss_')
                    },
                )
            )
        else:
            validations.append(Validation(record['step'], accuracy_of(record)))
    return History(tuple(train), tuple(validations))


def accuracy_of(metrics: Mapping[str, float]) -> Accuracy:
    """The accuracy among the metrics of mmdet's ``CocoMetric``.

    CocoMetric leaves its metrics out when there is no detection at all, which
    is an AP of 0, and gives -1 for sizes that the dataset does not have.
    """

    def percent(name: str) -> float | None:
        value = metrics.get(f'coco/bbox_{name}', 0.0)
        # CocoMetric rounds to 3 digits; keep them and no float noise
        return None if value < 0 else round(100 * value, 1)

    ap, ap50, ap75 = (percent(name) for name in ('mAP', 'mAP_50', 'mAP_75'))
    if ap is None or ap50 is None or ap75 is None:
        raise ValueError(
            'the box AP is undefined: the validation annotations are empty'
        )
    return Accuracy(
        ap, ap50, ap75, percent('mAP_s'), percent('mAP_m'), percent('mAP_l')
    )


def loss_terms(points: Sequence[TrainPoint]) -> tuple[str, ...]:
    """Names of all loss terms of a training, sorted."""
    return tuple(sorted({name for point in points for name in point.terms}))


def _records(lines: Sequence[str]) -> Iterable[Mapping[str, Any]]:
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            if not isinstance(record, dict) or not (
                {'loss', 'iter'} <= record.keys() or 'step' in record
            ):
                raise ValueError('no record of a training or a validation')
            yield record
        except (ValueError, RecursionError) as error:
            if number < len(lines):
                raise ValueError(
                    f'line {number} of scalars.json is broken: {line[:80]!r}'
                ) from error


def _continued(history: History, later: History) -> History:
    start = min(later._iterations(), default=None)
    if start is None:
        return history
    return History(
        tuple(p for p in history.train if p.iteration < start) + later.train,
        tuple(v for v in history.validations if v.iteration < start)
        + later.validations,
    )
