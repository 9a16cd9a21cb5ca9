"""The table: one CSV file with a line for each run, and nothing else to keep.

It can be read without this code, shows what has changed in a diff, and is all
that a summary needs. Box AP is in percent.
"""

from __future__ import annotations

import csv
import io
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from mmwkd.files import atomic_write
from studies.grid.accuracy import Accuracy
from studies.grid.plan import Key, Role

Curve = tuple[tuple[int, float], ...]

_NUMBERS = ('mAP', 'mAP_50', 'mAP_75', 'train_seconds')
_COUNTS = ('iterations', 'threads', 'jobs')
# empty where the data have no objects of a size, and for the teacher
_OPTIONAL = ('mAP_s', 'mAP_m', 'mAP_l', 'seed')
COLUMNS = (
    *('row', 'role', 'dataset', 'seed', 'mAP', 'mAP_50', 'mAP_75'),
    *('mAP_s', 'mAP_m', 'mAP_l', 'iterations', 'train_seconds', 'ap_curve'),
    *('config', 'options', 'config_hash', 'commit', 'machine', 'threads'),
    *('jobs', 'date'),
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


def read_table(path: Path) -> pd.DataFrame:
    """Read a table; one that does not exist yet is empty.

    Returns:
        A frame with ``COLUMNS``. Missing are the seed of a teacher and the AP
        of sizes that the data do not have.

    Raises:
        ValueError: If the file is not such a table, saying where.
    """
    if not path.exists():
        return pd.DataFrame(columns=list(COLUMNS))
    try:
        with path.open(encoding='utf-8', newline='') as file:
            columns, *lines = [*csv.reader(file)] or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f'{path} is no CSV file in UTF-8: {error}') from error
    if tuple(columns) != COLUMNS:
        raise ValueError(
            f'{path} is a table of another schema: expected the columns '
            f'{",".join(COLUMNS)}; got {",".join(columns)}'
        )
    for number, line in enumerate(lines, start=2):
        if len(line) != len(COLUMNS):
            raise ValueError(
                f'{path}, line {number}: expected {len(COLUMNS)} cells, got '
                f'{len(line)}'
            )
    table = pd.DataFrame(lines, columns=list(COLUMNS), dtype=object)
    roles = ('teacher', 'baseline', 'method')
    _check(path, table.role, table.role.isin(roles), ' or '.join(roles))
    for name in (*_NUMBERS, *_COUNTS, *_OPTIONAL):
        numbers = pd.to_numeric(table[name], errors='coerce').astype(float)
        empty = (table[name] == '') & (name in _OPTIONAL)
        _check(path, table[name], np.isfinite(numbers) | empty, 'a number')
        whole = name == 'seed' or name in _COUNTS
        table[name] = numbers.astype('Int64') if whole else numbers
    return table


def keys(table: pd.DataFrame) -> list[Key]:
    """Keys of the runs in a table, line by line."""
    columns = table[['dataset', 'row', 'config_hash', 'seed']]
    return [
        (dataset, row, config_hash, None if pd.isna(seed) else int(seed))
        for dataset, row, config_hash, seed in columns.itertuples(index=False)
    ]


def add_record(path: Path, record: Record) -> None:
    """Add a line to a table, which is made if needed.

    The file is read again first, so that lines that came from elsewhere
    meanwhile stay; other processes that add lines wait.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f'.{path.name}.locked')):
        read_table(path)  # refuses what is no table
        old = path.read_bytes() if path.exists() else _line(COLUMNS)
        with atomic_write(path, force=True) as file:
            file.write(old + _line(_cells(record)))


def curve_of(text: str) -> Curve:
    """The validations in a cell of ``ap_curve``."""
    points = (point.split(':') for point in text.split())
    return tuple((int(iteration), float(ap)) for iteration, ap in points)


def _check(
    path: Path, column: pd.Series, valid: pd.Series, expected: str
) -> None:
    if not valid.all():
        first = int(np.argmin(valid))
        raise ValueError(
            f'{path}, line {first + 2}: {column.name} must be {expected}, '
            f'got {column[first]!r}'
        )


def _line(cells: tuple[object, ...]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerow(cells)
    return text.getvalue().encode()


def _cells(record: Record) -> tuple[object, ...]:
    return (
        *(record.row, record.role, record.dataset, record.seed),
        *record.accuracy,
        *(record.iterations, record.train_seconds),
        ' '.join(f'{iteration}:{ap}' for iteration, ap in record.curve),
        *(record.config, shlex.join(record.options), record.config_hash),
        *(record.commit, record.machine, record.threads, record.jobs),
        record.date,
    )
