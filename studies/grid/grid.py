"""A grid file: which trainings to compare, as a config file in Python."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

TEACHER = 'teacher'  # the name of its row in tables
LOSSES = Path('configs/_base_/losses')

_REQUIRED = ('seeds', 'dataset', 'baseline', 'rows')
_OPTIONAL = ('teacher', 'pair', 'cfg_options')
_ROW = ('config', 'losses', 'places', 'pair', 'bases', 'cfg_options')


class Pair(NamedTuple):
    """Configs of a student and of the teacher that it may learn from."""

    student: str  # relative to the repository
    teacher: str  # one of configs/_base_/teachers


class Distillation(NamedTuple):
    """Losses of a pair, instead of a config that names them."""

    pair: Pair
    losses: tuple[str, ...]  # names of files in configs/_base_/losses
    places: tuple[str, ...] = ()  # all that the losses are for, if none
    bases: tuple[str, ...] = ()  # further configs to inherit

    def __str__(self) -> str:
        places = f' at {", ".join(self.places)}' if self.places else ''
        return ' + '.join([*self._configs(), *self.losses]) + places

    def write(self, repo: Path) -> str:
        """The config file that this row is equivalent to.

        Args:
            repo: Folder that paths are relative to.

        Raises:
            FileNotFoundError: If a config is missing.
            ValueError: If the losses do not fit each other or the places.
        """
        files = [*self._configs(), *(f'{LOSSES / n}.py' for n in self.losses)]
        for file in files:
            if not (repo / file).is_file():
                raise FileNotFoundError(f'config {file} does not exist')
        bases = ''.join(f'    {str(repo / file)!r},\n' for file in files)
        terms = ''.join(
            f'    {place}_loss=_base_.{place}_loss,\n'
            for place in self._check_places(repo)
        )
        return (
            f'_base_ = [\n{bases}]\n\nstudent = _base_.model\nmodel = dict(\n'
            "    _delete_=True,\n    type='DetectorDistiller',\n"
            '    student=student,\n    teacher=_base_.teacher,\n'
            f'{terms})\n'
        )

    def _configs(self) -> tuple[str, ...]:
        return (*self.pair, *self.bases)

    def _check_places(self, repo: Path) -> tuple[str, ...]:
        known: dict[str, str] = {}  # place: losses
        for name in self.losses:
            for key in Config.fromfile(repo / LOSSES / f'{name}.py'):
                place = key.removesuffix('_loss')
                if place in known:
                    raise ValueError(
                        f'the losses {known[place]!r} and {name!r} are both '
                        f'for {place!r}; write a config that chooses'
                    )
                known[place] = name
        if unknown := set(self.places) - set(known):
            raise ValueError(
                f'{", ".join(self.losses)} has no loss for the place '
                f'{min(unknown)!r}; it is for {", ".join(known)}'
            )
        return self.places or tuple(known)


class Row(NamedTuple):
    """One method: a config, what is changed in it, and how often it runs."""

    config: str | Distillation  # a path is relative to the repository
    options: Mapping[str, Any]
    seeds: tuple[int, ...]


class Teacher(NamedTuple):
    """The detector whose box AP is the upper end of the gap."""

    config: str
    checkpoint: str


@dataclass(frozen=True)
class Grid:
    """Rows and seeds to train, as in the file.

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
        name: _row(
            f'{path}: row {name!r}', name, value, seeds, content.get('pair')
        )
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
    where: str,
    name: str,
    content: Mapping[str, Any],
    seeds: tuple[int, ...],
    pair: Mapping[str, str] | None,
) -> Row:
    # it becomes the name of a folder
    if not re.fullmatch(r'\w[\w.+-]*', name) or name == TEACHER:
        raise ValueError(
            f'{where}: a name has letters, digits and any of _ . + - and is '
            f'not {TEACHER!r}'
        )
    _check_keys(where, content, (), (*_ROW, 'num_seeds'))
    count = content.get('num_seeds', len(seeds))
    if not isinstance(count, int) or not 1 <= count <= len(seeds):
        raise ValueError(
            f'{where}: num_seeds must be from 1 to {len(seeds)}, the number '
            f'of seeds; got {count!r}'
        )
    if ('config' in content) == ('losses' in content):
        raise ValueError(
            f'{where}: give either config, a file, or losses, some of '
            f'{LOSSES}; got {", ".join(content) or "neither"}'
        )
    config = content.get('config') or _distillation(where, content, pair)
    return Row(config, content.get('cfg_options', {}), seeds[:count])


def _distillation(
    where: str, content: Mapping[str, Any], pair: Mapping[str, str] | None
) -> Distillation:
    pair = content.get('pair', pair)
    if pair is None:
        raise ValueError(
            f'{where}: losses need a pair, of the row or of the grid: '
            'dict(student=..., teacher=...)'
        )
    _check_keys(f'{where}: pair', pair, Pair._fields)
    losses = content['losses']
    return Distillation(
        Pair(**pair),
        (losses,) if isinstance(losses, str) else tuple(losses),
        tuple(content.get('places', ())),
        tuple(content.get('bases', ())),
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
