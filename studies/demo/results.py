"""The numbers of a demo, and what they say. AP is in percent, as in papers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mmwkd.files import atomic_write
from studies.grid.accuracy import Accuracy, gap_closed
from studies.grid.machine import Machine

SCHEMA = 1

# of the three trainings, by role
TITLES = {
    'teacher': 'teacher',
    'baseline': 'student, alone',
    'distilled': 'student, distilled',
}

UNITS = {
    'ap': 'COCO box AP in percent, IoU 0.50 to 0.95',
    'parameters': 'number of weights',
    'gflops': 'giga multiply-adds of convolutions and linear layers, one '
    'image, mean over images',
    'images_per_second': '1 / median seconds of predict on one image, '
    'without loading it',
    'minutes': 'wall-clock minutes of training, validations included',
    'gap_closed': '(distilled AP - baseline AP) / (teacher AP - baseline AP); '
    'null where the teacher is not better than the baseline',
}


@dataclass(frozen=True)
class Model:
    """One trained detector, measured."""

    title: str  # in tables and legends: 'student, distilled'
    config: str  # of its training, relative to the repository
    command: str  # that trained it
    checkpoint: str
    accuracy: Accuracy  # of the checkpoint, loaded as a plain detector
    ap_in_training: float | None  # after the last iteration, if validated
    parameters: int
    gflops: float | None  # None where they could not be counted
    images_per_second: float
    iterations: int
    minutes: float
    attempts: int  # 1 + number of times that the training was resumed


@dataclass(frozen=True)
class Dataset:
    """The data of the training and the evaluation."""

    num_train: int
    num_val: int
    image_size: int
    num_categories: int
    seed: int


@dataclass(frozen=True)
class Results:
    """All results of a demo."""

    command: str
    date: str  # ISO 8601, with the offset from UTC
    commit: str | None  # None outside a git repository
    seed: int  # of the three trainings
    machine: Machine
    dataset: Dataset
    teacher: Model
    baseline: Model
    distilled: Model

    @property
    def models(self) -> tuple[Model, Model, Model]:
        """The three, in the order of every table."""
        return self.teacher, self.baseline, self.distilled

    @property
    def gain(self) -> float:
        """AP of the distilled student above the baseline's, in percent."""
        return round(self.distilled.accuracy.ap - self.baseline.accuracy.ap, 1)

    @property
    def gap_closed(self) -> float | None:
        """See :func:`gap_closed`."""
        return gap_closed(
            teacher=self.teacher.accuracy.ap,
            baseline=self.baseline.accuracy.ap,
            distilled=self.distilled.accuracy.ap,
        )


class Verdict(NamedTuple):
    """The outcome in words: a headline and one or two sentences."""

    headline: str
    text: str
    tone: str  # 'good', 'bad' or 'even'


def verdict(results: Results) -> Verdict:
    """Put the numbers into words, also disappointing ones."""
    teacher, baseline, distilled = (m.accuracy.ap for m in results.models)
    gain, gap = results.gain, results.gap_closed
    text = (
        f'In this run the student alone reaches {baseline:.1f} box AP and the '
        f'distilled one {distilled:.1f}; the teacher has {teacher:.1f}.'
    )
    if gap is None:
        text += (
            ' It is not better than the student alone, so there is no gap to '
            'close: train it for longer.'
        )
    elif gain > 0:
        text += f' This closes {100 * gap:.0f} % of the gap.'
    if gain > 0:
        headline, tone = f'+{gain:.1f} box AP from distillation', 'good'
    elif gain < 0:
        minus = f'\N{MINUS SIGN}{-gain:.1f} box AP'
        headline, tone = f'{minus}: distillation did not help', 'bad'
    else:
        headline, tone = 'No difference in box AP', 'even'
    return Verdict(headline, text, tone)


def table_rows(results: Results) -> list[tuple[str, ...]]:
    """The table of results as text: a header and one row for each model."""
    header = (
        'model',
        'box AP',
        'AP50',
        'AP75',
        'params (M)',
        'GFLOPs',
        'images/s',
        'minutes',
    )
    rows = [
        (
            model.title,
            f'{model.accuracy.ap:.1f}',
            f'{model.accuracy.ap50:.1f}',
            f'{model.accuracy.ap75:.1f}',
            f'{model.parameters / 1e6:.2f}',
            'not counted' if model.gflops is None else f'{model.gflops:.3f}',
            f'{model.images_per_second:.1f}',
            f'{model.minutes:.1f}',
        )
        for model in results.models
    ]
    return [header, *rows]


def write_results(results: Results, path: Path) -> None:
    """Write all numbers as JSON."""
    text = json.dumps(to_json(results), indent=2) + '\n'
    with atomic_write(path, force=True) as file:
        file.write(text.encode())


def to_json(results: Results) -> dict[str, Any]:
    """The results as plain data, derived numbers and units included."""
    document = asdict(results)
    models = {role: document.pop(role) for role in TITLES}
    for model in models.values():
        model['accuracy'] = model['accuracy']._asdict()
    return {
        'schema': SCHEMA,
        **document,
        'models': models,
        'gain': results.gain,
        'gap_closed': results.gap_closed,
        'units': UNITS,
    }
