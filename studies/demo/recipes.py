"""The three trainings of the demo, each a config that inherits a shipped one.

A derived config says only what the demo changes (where the data are, the seed,
the teacher that was just trained), so that a reader can see and rerun it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from mmwkd.files import atomic_write
from mmwkd.version import __version__

_HALF = 'configs/minicoco/faster-rcnn_r18-half_fpn_800_minicoco.py'
_EIGHTH = 'configs/minicoco/faster-rcnn_r18-eighth_fpn_800_minicoco.py'
_WKD = (
    'configs/minicoco/'
    'wkd-lf_faster-rcnn_r18-eighth-from-r18-half_fpn_800_minicoco.py'
)

# Iterations between two lines of the log: one line every few seconds, which
# is what the progress display lives on.
_LOG_INTERVAL = 10


class Recipe(NamedTuple):
    """A training: its name, and the shipped config that it starts from."""

    role: str  # names files
    title: str  # for people
    config: str  # relative to the repository


TEACHER = Recipe('teacher', 'teacher', _HALF)
BASELINE = Recipe('baseline', 'student, alone', _EIGHTH)
DISTILLED = Recipe('distilled', 'student, distilled', _WKD)
RECIPES = (TEACHER, BASELINE, DISTILLED)


class TrainedTeacher(NamedTuple):
    """What a distillation needs to know of its teacher."""

    config: Path
    checkpoint: Path
    fingerprint: str


class TrainingPlan(NamedTuple):
    """A training, ready to run."""

    recipe: Recipe
    overrides: dict[str, Any]  # of the recipe's config
    max_iters: int
    fingerprint: str  # equal fingerprints train equal detectors


def plan_training(
    recipe: Recipe,
    *,
    repo: Path,
    data_root: Path,
    data_parameters: Mapping[str, Any],
    seed: int,
    max_iters: int | None = None,
    teacher: TrainedTeacher | None = None,
) -> TrainingPlan:
    """Say what the demo changes in a recipe's config.

    Args:
        recipe: The training.
        repo: Root of the repository.
        data_root: Where minicoco is.
        data_parameters: What minicoco was drawn with.
        seed: Seed of the training.
        max_iters: Iterations, at least 2; the schedule shrinks with them.
            None for the config's own.
        teacher: The teacher of a distillation.

    Returns:
        The plan. Its fingerprint covers the config with all its bases, the
        seed, the iterations, the data, the teacher and the version of mmwkd,
        but no paths, for a demo folder may be moved, and no source code.
    """
    config = Config.fromfile(repo / recipe.config)
    full_length = config.train_cfg.max_iters
    length = full_length if max_iters is None else max_iters

    overrides = _data_overrides(data_root)
    overrides['randomness'] = {'seed': seed}
    hooks: dict[str, Any] = {
        'logger': {
            'interval': min(_LOG_INTERVAL, length // 2),
        }
    }
    overrides['default_hooks'] = hooks
    if length != full_length:
        scale = _Scale(full_length, length)
        hooks['checkpoint'] = {
            'interval': scale(config.default_hooks.checkpoint.interval)
        }
        overrides['train_cfg'] = {
            'max_iters': length,
            'val_interval': scale(config.train_cfg.val_interval),
        }
        overrides['param_scheduler'] = _scaled(config.param_scheduler, scale)
    if teacher is not None:
        overrides['model'] = {
            'teacher': {
                'config': str(teacher.config),
                'checkpoint': str(teacher.checkpoint),
            }
        }
    fingerprint = _digest(
        __version__,
        config.to_dict(),
        seed,
        length,
        dict(data_parameters),
        None if teacher is None else teacher.fingerprint,
    )
    return TrainingPlan(recipe, overrides, length, fingerprint)


def write_config(plan: TrainingPlan, path: Path, *, repo: Path) -> None:
    """Write a plan as a config file that inherits the recipe's config."""
    derived = Config(
        {'_base_': str(repo / plan.recipe.config), **plan.overrides}
    )
    text = (
        f'# Written by tools/demo.py: what the demo changes in '
        f'{Path(plan.recipe.config).name}\n{derived.pretty_text}'
    )
    with atomic_write(path, force=True) as file:
        file.write(text.encode())


class _Scale:
    """Shrinks points of a schedule; none of them becomes 0 but 0."""

    def __init__(self, old: int, new: int) -> None:
        self._old, self._new = old, new

    def __call__(self, iteration: int) -> int:
        return -(-iteration * self._new // self._old)  # rounded up


def _scaled(
    schedulers: Sequence[Mapping[str, Any]], scale: _Scale
) -> list[dict[str, Any]]:
    return [
        {
            key: scale(value) if key in ('begin', 'end', 'T_max') else value
            for key, value in scheduler.items()
        }
        for scheduler in schedulers
    ]


def _data_overrides(data_root: Path) -> dict[str, Any]:
    loader = {'dataset': {'data_root': f'{data_root}/'}}
    evaluator = {'ann_file': f'{data_root}/annotations/instances_val.json'}
    return {
        'train_dataloader': loader,
        'val_dataloader': loader,
        'test_dataloader': loader,
        'val_evaluator': evaluator,
        'test_evaluator': evaluator,
    }


def _digest(*parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
