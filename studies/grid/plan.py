"""From a grid to runs: mistakes are found here, before the first run."""

from __future__ import annotations

import copy
import hashlib
import json
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mmengine.config import Config, DictAction

from mmwkd.distillers.places import pieces
from studies.grid.grid import TEACHER, Distillation, Grid

Role = Literal['teacher', 'baseline', 'method']
Key = tuple[str, str, str, int | None]  # dataset, row, config's hash, seed

# Where mmengine counts validations by epoch, curves of two configs with other
# batch sizes would not have the same axis.
_ALWAYS = {'default_hooks.logger.log_metric_by_epoch': False}

_CONTENTS_MATTER = ('.pth', '.pt', '.npz')


class Run(NamedTuple):
    """A training of one row with one seed, or the test of the teacher."""

    row: str
    role: Role
    dataset: str
    seed: int | None  # None for the teacher, which is not trained
    config: str  # relative to the repository, or what was composed
    options: tuple[str, ...]  # KEY=VALUE, without the seed
    config_hash: str  # of the config with its options, and of files it reads
    composed: str | None = None  # text of a config that is no file yet
    max_iters: int | None = None  # None where epochs are counted
    checkpoint: str | None = None  # of the teacher

    def config_file(self, folder: Path) -> str:
        """The config to train with; one that is composed is in a folder."""
        if self.composed is None:
            return self.config
        return str(folder / f'{self.row}.py')

    @property
    def key(self) -> Key:
        """Equal keys are the same run, on any machine."""
        return self.dataset, self.row, self.config_hash, self.seed

    @property
    def title(self) -> str:
        """Its name in messages and tables."""
        return (
            self.row if self.seed is None else f'{self.row}, seed {self.seed}'
        )


def plan_runs(grid: Grid, repo: Path) -> list[Run]:
    """List the runs of a grid, in the order in which to start them.

    The teacher is tested first. Then every row gets its first seed before any
    row gets its second, so that an unfinished grid is a fair comparison.

    Args:
        grid: The grid.
        repo: Folder that paths in grids and configs are relative to.

    Raises:
        FileNotFoundError: If a config, data or a checkpoint is missing.
        ValueError: If an option has no place, a score is not box AP by
            CocoMetric, or two rows are the same.
    """
    files = _Files(repo)
    used: set[str] = set()
    runs = []
    rows = {}
    texts: dict[str, str | None] = {}
    loaded: dict[str | Distillation, tuple[Config, str | None]] = {}
    for name, row in grid.rows.items():
        where = f'row {name!r}'
        if row.config not in loaded:
            loaded[row.config] = _load(where, row.config, repo)
        config, composed = copy.deepcopy(loaded[row.config])
        fitting = {
            key: value
            for key, value in grid.options.items()
            if _has_place(config, key)
        }
        used |= set(fitting)
        for key in row.options:
            if not _has_place(config, key):
                raise ValueError(
                    f'{where}: the option {key!r} has no place in '
                    f'{row.config}, which has no {key.rpartition(".")[0]!r}'
                )
        texts[name] = composed
        rows[name] = _resolve(
            where,
            str(row.config),
            config,
            {**_ALWAYS, **fitting, **row.options},
            loaders=('train_dataloader', 'val_dataloader'),
            evaluator='val_evaluator',
            files=files,
        )
    if unused := set(grid.options) - used:
        raise ValueError(
            f'cfg_options: no row has a place for the option {min(unused)!r}'
        )
    _check_different(
        {name: resolved.digest for name, resolved in rows.items()}
    )
    if grid.teacher is not None:
        runs.append(_teacher(grid, repo, files))
    for seed in grid.seeds:
        for name, resolved in rows.items():
            if seed not in grid.rows[name].seeds:
                continue
            runs.append(
                Run(
                    row=name,
                    role='baseline' if name == grid.baseline else 'method',
                    dataset=grid.dataset,
                    seed=seed,
                    config=str(grid.rows[name].config),
                    composed=texts[name],
                    options=resolved.arguments,
                    config_hash=resolved.digest,
                    max_iters=resolved.max_iters,
                )
            )
    return runs


class _Resolved(NamedTuple):
    arguments: tuple[str, ...]
    digest: str
    max_iters: int | None


class _Files:
    """The files that configs read; each is hashed once."""

    def __init__(self, repo: Path) -> None:
        self.repo = repo
        self._digests: dict[str, str] = {}

    def digest(self, path: str) -> str:
        """Hash of the content of a file."""
        if path not in self._digests:
            content = (self.repo / path).read_bytes()
            self._digests[path] = hashlib.sha256(content).hexdigest()
        return self._digests[path]


def _teacher(grid: Grid, repo: Path, files: _Files) -> Run:
    assert grid.teacher is not None
    path, checkpoint = grid.teacher
    config, _ = _load('teacher', path, repo)
    config.load_from = checkpoint
    resolved = _resolve(
        'teacher',
        path,
        config,
        # Others, such as those of the model, are meant for the students.
        {k: v for k, v in grid.options.items() if k.startswith('test_')},
        loaders=('test_dataloader',),
        evaluator='test_evaluator',
        files=files,
    )
    return Run(
        row=TEACHER,
        role='teacher',
        dataset=grid.dataset,
        seed=None,
        config=path,
        options=resolved.arguments,
        config_hash=resolved.digest,
        checkpoint=checkpoint,
    )


def _load(
    where: str, config: str | Distillation, repo: Path
) -> tuple[Config, str | None]:
    """A config, and its text where it is no file."""
    try:
        if isinstance(config, Distillation):
            text = config.write(repo)
            return Config.fromstring(text, '.py'), text
        if not (repo / config).is_file():
            raise FileNotFoundError(f'config {config} does not exist')
        return Config.fromfile(repo / config), None
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f'{where}: {error}') from error


def _resolve(
    where: str,
    path: str,
    config: Config,
    options: Mapping[str, Any],
    *,
    loaders: Sequence[str],
    evaluator: str,
    files: _Files,
) -> _Resolved:
    arguments = tuple(
        _argument(where, key, value) for key, value in options.items()
    )
    config.merge_from_dict(dict(options))
    content = config.to_dict()
    _check_score(where, path, evaluator, content[evaluator])
    _check_data(where, [content[name] for name in loaders], files.repo)
    digests = _check_files(where, content, files)
    # a loss that the model does not have makes no other training, nor does
    # what a config calls its own
    left_over = pieces()
    trained = {
        k: v
        for k, v in content.items()
        if k not in left_over and not k.startswith('_')
    }
    text = json.dumps([trained, digests], sort_keys=True, default=str)
    return _Resolved(
        arguments,
        hashlib.sha256(text.encode()).hexdigest()[:12],
        content.get('train_cfg', {}).get('max_iters'),
    )


def _argument(where: str, key: str, value: Any) -> str:
    """An option for a command line; refused if it would change its value."""
    parser = ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    argument = f'{key}={value}'
    try:
        parsed = parser.parse_args(['--cfg-options', argument]).cfg_options
    except AssertionError:  # of DictAction, by brackets that do not match
        parsed = None
    if parsed != {key: value}:
        raise ValueError(
            f'{where}: the option {key!r} cannot be {value!r} on a command '
            'line; write a config that inherits this one'
        )
    return argument


def _has_place(config: Config, key: str) -> bool:
    """Whether a config has the part that an option changes.

    mmengine would make the place, and a misspelt option would do nothing.
    """
    place: Any = config
    for name in key.split('.')[:-1]:
        if isinstance(place, list | tuple):
            if not name.isdigit() or int(name) >= len(place):
                return False
            place = place[int(name)]
        elif hasattr(place, 'get') and place.get(name) is not None:
            place = place[name]
        else:
            return False
    return True


def _check_score(where: str, path: str, name: str, evaluator: Any) -> None:
    if isinstance(evaluator, dict):
        evaluator = [evaluator]
    for metric in evaluator:
        if metric['type'] == 'CocoMetric' and 'bbox' in metric['metric']:
            return
    raise ValueError(
        f'{where}: the {name} of {path} must be a CocoMetric with the '
        f"metric 'bbox', got {[metric['type'] for metric in evaluator]}"
    )


def _check_data(where: str, loaders: Sequence[Any], repo: Path) -> None:
    for dataset in _dicts_with('ann_file', loaders):
        root = dataset.get('data_root') or ''
        paths = [dataset['ann_file'], *dataset.get('data_prefix', {}).values()]
        for path in paths:
            full = repo / root / path
            if '://' not in root and not full.exists():
                raise FileNotFoundError(
                    f'{where}: the data are missing: {Path(root, path)} does '
                    'not exist; make or link the data set, or set '
                    "'...dataset.data_root' in cfg_options"
                )


def _check_files(
    where: str, content: Mapping[str, Any], files: _Files
) -> dict[str, str]:
    """Hashes of the weights and matrices that a config names."""
    digests = {}
    inputs = {key: content.get(key) for key in ('model', 'load_from')}
    for key, value in _strings('', inputs):
        suffix = Path(value).suffix
        if '://' in value or '::' in value:
            continue
        if suffix not in (*_CONTENTS_MATTER, '.py'):
            continue
        if not (files.repo / value).is_file():
            raise FileNotFoundError(
                f'{where}: {key} = {value} does not exist; make it first, or '
                'set its path in cfg_options'
            )
        if suffix in _CONTENTS_MATTER:
            digests[key] = files.digest(value)
    return digests


def _check_different(digests: Mapping[str, str]) -> None:
    first: dict[str, str] = {}
    for name, digest in digests.items():
        if digest in first:
            raise ValueError(
                f'the rows {first[digest]!r} and {name!r} are the same '
                'training: their configs with their options are equal'
            )
        first[digest] = name


def _dicts_with(key: str, tree: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(tree, dict):
        if key in tree:
            yield tree
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        for branch in tree:
            yield from _dicts_with(key, branch)


def _strings(key: str, tree: Any) -> Iterator[tuple[str, str]]:
    """All texts of nested dicts and lists, with their dotted keys."""
    if isinstance(tree, str):
        yield key, tree
    elif isinstance(tree, dict | list | tuple):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for name, branch in items:
            yield from _strings(f'{key}.{name}'.lstrip('.'), branch)
