"""The table: one CSV file with a line for each run, and nothing else to keep.

It can be read without this code, shows what has changed in a diff, and is all
that a summary needs. Box AP is in percent.
"""

from __future__ import annotations

import csv
import io
import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from mmwkd.files import atomic_write
from studies.grid.accuracy import Accuracy
from studies.grid.lock import wait_for
from studies.grid.plan import Key, Role

Curve = tuple[tuple[int, float], ...]

COLUMNS = (
    'row',
    'role',
    'dataset',
    'seed',
    'mAP',
    'mAP_50',
    'mAP_75',
    'mAP_s',
    'mAP_m',
    'mAP_l',
    'iterations',
    'train_seconds',
    'ap_curve',
    'config',
    'options',
    'config_hash',
    'commit',
    'machine',
    'threads',
    'jobs',
    'date',
)


@dataclass(frozen=True)
class Record:
    """A run that has finished."""

    row: str
    role: Role
    dataset: str
    seed: int | None  # None for the teacher
    accuracy: Accuracy
    iterations: int  # 0 for the teacher, which was only tested
    train_seconds: float  # validations included
    curve: Curve  # (iteration, box AP) of each validation
    config: str
    options: tuple[str, ...]
    config_hash: str
    commit: str | None
    machine: str
    threads: int  # of each run
    jobs: int  # runs at a time
    date: str  # ISO 8601

    @property
    def key(self) -> Key:
        """That of its run."""
        return self.dataset, self.row, self.config_hash, self.seed


def read_table(path: Path) -> list[Record]:
    """Read a table; one that does not exist yet is empty.

    Raises:
        ValueError: If the file is not such a table, saying where.
    """
    if not path.exists():
        return []
    try:
        with path.open(encoding='utf-8', newline='') as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, cells) for cells in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f'{path} is no CSV file in UTF-8: {error}') from error
    columns = tuple(lines[0][1]) if lines else ()
    if columns != COLUMNS:
        raise ValueError(
            f'{path} is a table of another schema: expected the columns '
            f'{",".join(COLUMNS)}; got {",".join(columns)}'
        )
    records = []
    for number, cells in lines[1:]:
        try:
            named = dict(zip(COLUMNS, cells, strict=True))
            records.append(_from_cells(named))
        except ValueError as error:
            raise ValueError(f'{path}, line {number}: {error}') from error
    return records


def add_record(path: Path, record: Record) -> None:
    """Add a line to a table, which is made if needed.

    The file is read again first, so that lines that came from elsewhere
    meanwhile stay; other processes that add lines wait.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f'.{path.name}.locked').open('a') as lock:
        wait_for(lock)
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator='\n')
        writer.writeheader()
        for line in [*read_table(path), record]:
            writer.writerow(_to_cells(line))
        with atomic_write(path, force=True) as file:
            file.write(text.getvalue().encode())


def _to_cells(record: Record) -> dict[str, object]:
    accuracy = record.accuracy
    return {
        'row': record.row,
        'role': record.role,
        'dataset': record.dataset,
        'seed': record.seed,
        'mAP': accuracy.ap,
        'mAP_50': accuracy.ap50,
        'mAP_75': accuracy.ap75,
        'mAP_s': accuracy.ap_small,
        'mAP_m': accuracy.ap_medium,
        'mAP_l': accuracy.ap_large,
        'iterations': record.iterations,
        'train_seconds': record.train_seconds,
        'ap_curve': ' '.join(f'{i}:{ap}' for i, ap in record.curve),
        'config': record.config,
        'options': shlex.join(record.options),
        'config_hash': record.config_hash,
        'commit': record.commit,
        'machine': record.machine,
        'threads': record.threads,
        'jobs': record.jobs,
        'date': record.date,
    }


def _from_cells(cells: dict[str, str]) -> Record:
    if cells['role'] not in ('teacher', 'baseline', 'method'):
        raise ValueError(
            f'role must be teacher, baseline or method, got {cells["role"]!r}'
        )
    sizes = (cells[f'mAP_{size}'] for size in 'sml')
    return Record(
        row=cells['row'],
        role=cast(Role, cells['role']),
        dataset=cells['dataset'],
        seed=int(cells['seed']) if cells['seed'] else None,
        accuracy=Accuracy(
            _number(cells['mAP']),
            _number(cells['mAP_50']),
            _number(cells['mAP_75']),
            *(_number(size) if size else None for size in sizes),
        ),
        iterations=int(cells['iterations']),
        train_seconds=_number(cells['train_seconds']),
        curve=_curve(cells['ap_curve']),
        config=cells['config'],
        options=tuple(shlex.split(cells['options'])),
        config_hash=cells['config_hash'],
        commit=cells['commit'] or None,
        machine=cells['machine'],
        threads=int(cells['threads']),
        jobs=int(cells['jobs']),
        date=cells['date'],
    )


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f'{text} is not a finite number')
    return value


def _curve(text: str) -> Curve:
    points = (point.split(':') for point in text.split())
    return tuple((int(iteration), _number(ap)) for iteration, ap in points)
