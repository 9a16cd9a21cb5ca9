"""A grid file: which trainings to compare, as a config file in Python."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

TEACHER = 'teacher'  # the name of its row in tables

_REQUIRED = ('seeds', 'dataset', 'baseline', 'rows')
_OPTIONAL = ('teacher', 'cfg_options')


class Row(NamedTuple):
    """One method: a config, what is changed in it, and how often it runs."""

    config: str  # relative to the repository
    options: Mapping[str, Any]
    seeds: tuple[int, ...]


class Teacher(NamedTuple):
    """The detector whose box AP is the upper end of the gap."""

    config: str
    checkpoint: str


@dataclass(frozen=True)
class Grid:
    """Rows and seeds to train, as the file says it.

    Attributes:
        dataset: Label of the data, for tables.
        seeds: Seeds of the rows; a row has all or the first of them.
        baseline: Name of the row that the others are compared with.
        rows: The methods by name.
        options: Options for all configs that have their place.
        teacher: Detector to test once; None for no share of a gap.
    """

    dataset: str
    seeds: tuple[int, ...]
    baseline: str
    rows: Mapping[str, Row]
    options: Mapping[str, Any]
    teacher: Teacher | None = None


def read_grid(path: Path) -> Grid:
    """Read a grid file.

    Names that begin with an underscore are helpers of the file itself.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file does not describe a grid, saying where.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f'grid file {path} does not exist; studies/grids/ has examples'
        )
    content = {
        name: value
        for name, value in Config.fromfile(path).to_dict().items()
        if not name.startswith('_')
    }
    _check_keys(str(path), content, _REQUIRED, _OPTIONAL)
    seeds = tuple(content['seeds'])
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(
            f'{path}: seeds must be different integers, at least one; got '
            f'{list(seeds)}'
        )
    rows = {
        name: _row(f'{path}: row {name!r}', name, value, seeds)
        for name, value in content['rows'].items()
    }
    baseline = content['baseline']
    if baseline not in rows:
        raise ValueError(
            f'{path}: the baseline {baseline!r} is not one of the rows: '
            f'{", ".join(rows)}'
        )
    teacher = content.get('teacher')
    if teacher is not None:
        _check_keys(f'{path}: teacher', teacher, Teacher._fields)
    return Grid(
        dataset=content['dataset'],
        seeds=seeds,
        baseline=baseline,
        rows=rows,
        options=content.get('cfg_options', {}),
        teacher=None if teacher is None else Teacher(**teacher),
    )


def _row(
    where: str, name: str, content: Mapping[str, Any], seeds: tuple[int, ...]
) -> Row:
    # it becomes the name of a folder
    if not re.fullmatch(r'\w[\w.+-]*', name) or name == TEACHER:
        raise ValueError(
            f'{where}: a name has letters, digits and any of _ . + - and is '
            f'not {TEACHER!r}'
        )
    _check_keys(where, content, ('config',), ('cfg_options', 'num_seeds'))
    count = content.get('num_seeds', len(seeds))
    if not isinstance(count, int) or not 1 <= count <= len(seeds):
        raise ValueError(
            f'{where}: num_seeds must be from 1 to {len(seeds)}, the number '
            f'of seeds; got {count!r}'
        )
    return Row(
        content['config'], content.get('cfg_options', {}), seeds[:count]
    )


def _check_keys(
    where: str,
    content: Mapping[str, Any],
    required: Collection[str],
    optional: Collection[str] = (),
) -> None:
    if unknown := set(content) - {*required, *optional}:
        raise ValueError(
            f'{where}: unknown key {min(unknown)!r}; known are '
            f'{", ".join([*required, *optional])}'
        )
    if missing := set(required) - set(content):
        raise ValueError(f'{where}: key {min(missing)!r} is missing')
