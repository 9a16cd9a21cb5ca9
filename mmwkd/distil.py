"""Look at a student and a teacher, and write the config that distils.

Shapes: D channels of the maps that are compared.
"""

from __future__ import annotations

import copy
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from mmwkd.configs import (
    dataset_classes,
    is_distiller,
    read_config,
    read_model,
    without_pretrained,
)
from mmwkd.distillers import DetectorDistiller
from mmwkd.distillers.alignment import DetectorPair
from mmwkd.distillers.places import Place, build_places, entries
from mmwkd.distillers.teacher import build_teacher
from mmwkd.files import atomic_write, check_writable
from mmwkd.quiet import quiet

LOSSES = Path(__file__).parent / '.mim' / 'configs' / '_base_' / 'losses'

_LONG = 20  # seconds of two steps

# channels that the weights of LOSSES are for
_CHANNELS = 256


class Choice(NamedTuple):
    """A place where a pair can be compared, and the loss to compare with."""

    place: Place
    loss: dict[str, Any]  # as a config has it
    reason: str


@dataclass(frozen=True)
class Trial:
    """What one step on images of the run's own is made of."""

    losses: Mapping[str, float]
    rows: tuple[int, ...] | None  # of logits and their categories
    images: int
    plain_seconds: float
    seconds: float
    classes: tuple[str, ...] | None


def distil(
    student: Path,
    /,
    *train_options: str,
    teacher: tuple[str, str],
    out: Path = Path('my_distillation.py'),
    train: bool = False,
    dry_run: bool = False,
    force: bool = False,
) -> list[str] | None:
    """Look at a student and a teacher, and write the config that distils.

    Both detectors are built and run once, to find the places where they can
    be compared. One training step on images of the student's own config
    shows that it works, and what it costs. The written config is short: read
    it, and change what you like.

    Args:
        student: Config that trains the student with plain mmdet.
        *train_options: Options of mmdet's train.py, such as --amp, --resume
            or --cfg-options key=value; they need --train.
        teacher: Config and checkpoint of the teacher, a detector of the same
            classes. The config may be of mmdet, as in 'mmdet::...'; the
            checkpoint may be a URL.
        out: Config to write.
        train: Whether to train it then, with mmdet's own runner. All options
            of train.py can be added, such as --amp.
        dry_run: Whether nothing is written.
        force: Whether an existing config may be replaced.

    Returns:
        Command line of mmdet's train.py, if it is to be run.

    Raises:
        FileExistsError: If the config exists and ``force`` is not set.
        FileNotFoundError: If a file that is read does not exist.
        ValueError: If the detectors cannot be compared, saying why.
    """
    if train and dry_run:
        raise ValueError('--dry-run writes no config to --train')
    if train_options and not train:
        raise ValueError(
            f'{" ".join(train_options)} is no option of distil; options of '
            'training need --train'
        )
    if train and os.environ.get('WORLD_SIZE', '1') != '1':
        raise ValueError(
            'several processes would write the same config: leave out '
            f'--train, then run torchrun ... -m mmwkd train {out}'
        )
    if not dry_run:
        check_writable(out, force=force)
    # of its own file, which is not silenced
    console = Console(file=sys.stdout, highlight=False)
    with silent(), console.status('reading configs') as status:
        config = read_config(str(student))
        if is_distiller(config.get('model', {})):
            raise ValueError(
                f'{student} distils already: give the config of the student'
            )
        init_default_scope(config.get('default_scope', 'mmdet'))
        status.update('building both detectors')
        options = dict(config=teacher[0], checkpoint=teacher[1])
        pair = DetectorPair(
            MODELS.build(read_model(str(student))), build_teacher(options)
        )
        pair.check_images()
        status.update('looking for places to compare')
        choices, refused = choose(pair)
        text = config_text(
            student, teacher, choices, folder=out.resolve().parent
        )
        status.update('one step on images of the training data')
        trial = try_step(_parsed(text, out.resolve().parent))
    console.print(_pair_table(pair, choices, trial))
    for entry, why in refused.items():
        console.print(f'not compared, {entry}: {why}', markup=False)
    console.print(_trial_table(trial))
    if dry_run:
        console.print(text, markup=False)
        return None
    with atomic_write(out, force=force) as file:
        file.write(text.encode())
    console.print(f'written: {out}', markup=False)
    if train:
        return [str(out), *train_options]
    console.print(f'to train it: mmwkd train {out}', markup=False)
    return None


@contextmanager
def silent() -> Iterator[None]:
    """Silence libraries and the loggers of mmengine."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel('ERROR')
    try:
        with quiet():
            yield
    finally:
        logger.setLevel(level)


def choose(
    pair: DetectorPair,
) -> tuple[dict[str, Choice], dict[str, str]]:
    """Choose places, and a loss for each, by trying them on a pair.

    Class logits are compared wherever they can be; of the maps, those of
    RoIs rather than those of the necks.

    Args:
        pair: The detectors.

    Returns:
        The choices by their entries in a distiller's config; why the others
        cannot be compared.

    Raises:
        ValueError: If the detectors cannot be compared at all, saying why.
    """
    places: dict[str, Place] = {}
    refused: dict[str, str] = {}
    losses = recommended('wkd')
    for name in (name for name, kind in entries().items() if kind is None):
        loss = losses.get(name)
        if loss is None:
            continue
        try:
            (places[name],) = build_places({name: dict(loss)}, pair).values()
        except ValueError as error:
            refused[name] = str(error)
    if 'roi_loss' in places:
        places.pop('neck_loss', None)
    if not places:
        reasons = '; '.join(f'{name}: {why}' for name, why in refused.items())
        raise ValueError(f'the detectors cannot be compared: {reasons}')
    return {
        name: _choice(place, losses[name]) for name, place in places.items()
    }, refused


def recommended(name: str) -> dict[str, Any]:
    """Losses of a file of the shipped ``configs/_base_/losses``."""
    return Config.fromfile(LOSSES / f'{name}.py').to_dict()


def _choice(place: Place, loss: dict[str, Any]) -> Choice:
    title = place.title.removeprefix(f'{place.entry}_loss').strip()
    compared = 'maps' if place.compares == 'features' else 'class logits'
    return Choice(place, loss, f'{compared} {title}'.rstrip())


_CLASSIC = """\
# Written by `mmwkd distil`: change what you like.
_base_ = {base!r}  # the student: its data, schedule and hooks

custom_imports = dict(imports=['mmwkd'])
# neither a kill nor a full disk costs a checkpoint
default_hooks = dict(checkpoint=dict(type='SafeCheckpointHook'))
model = dict(
    _delete_=True,
    type='DetectorDistiller',
    student=_base_.model,
{pieces}
)
"""

_PURE = """\
# Written by `mmwkd distil`: change what you like.
from mmengine.config import read_base

with read_base():
    from .{base} import *  # the student: its data, schedule and hooks

custom_imports = dict(imports=['mmwkd'])
# neither a kill nor a full disk costs a checkpoint
default_hooks.update(checkpoint=dict(type='SafeCheckpointHook'))
student = model
model = dict(
    type='DetectorDistiller',
    student=student,
{pieces}
)
"""


def config_text(
    student: Path,
    teacher: tuple[str, str],
    choices: Mapping[str, Choice],
    *,
    folder: Path,
) -> str:
    """Write the config that a person would write.

    Args:
        student: Config of the student, whose style is kept.
        teacher: Config and checkpoint of the teacher.
        choices: What is compared.
        folder: Where the config will lie.

    Returns:
        The text of a Python file.

    Raises:
        ValueError: If a config in pure Python lies in another folder, or has
            a name that Python cannot import.
    """
    pieces = [
        '    teacher=dict(',
        f'        config={teacher[0]!r},',
        f'        checkpoint={teacher[1]!r},',
        '    ),',
    ]
    for name, choice in choices.items():
        options = ', '.join(f'{k}={v!r}' for k, v in choice.loss.items())
        pieces += [f'    # {choice.reason}', f'    {name}=dict({options}),']
    own = student.resolve()
    if Config._is_lazy_import(str(student)):
        if own.parent != folder or not own.stem.isidentifier():
            raise ValueError(
                f'{student} is a config in pure Python, which only a config '
                'beside it can read, by a name without dots and hyphens: '
                f'rename it if need be, and set --out {own.parent}/...'
            )
        return _PURE.format(base=own.stem, pieces='\n'.join(pieces))
    base = os.path.relpath(own, folder)
    if base.startswith(os.path.join('..', '..')):
        base = str(own)  # nothing that both would be moved with
    return _CLASSIC.format(base=base, pieces='\n'.join(pieces))


def _parsed(text: str, folder: Path) -> Config:
    """The config, read as if it lay in its folder."""
    with tempfile.NamedTemporaryFile(
        'w', dir=folder, prefix='distil_', suffix='.py'
    ) as file:
        file.write(text)
        file.flush()
        return Config.fromfile(file.name)


def try_step(config: Config) -> Trial:
    """Take one step of training, and of plain training beside it.

    Args:
        config: Config of a distillation run.

    Returns:
        What the step is made of and how long it takes, backward pass
        included.

    Raises:
        ValueError: If the data are not of the teacher's classes.
    """
    loader_config = copy.deepcopy(config.train_dataloader)
    loader_config.update(num_workers=0, persistent_workers=False)
    loader_config.pop('prefetch_factor', None)
    loader = Runner.build_dataloader(loader_config, seed=0)
    hub = MessageHub.get_current_instance()
    model = copy.deepcopy(config.model)
    without_pretrained(model.student)
    model.setdefault('data_preprocessor', config.get('data_preprocessor'))
    distiller: DetectorDistiller = MODELS.build(model)
    distiller.init_weights()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    if device == 'cpu':
        distiller = revert_sync_batchnorm(distiller)
    distiller.to(device).train()
    # what mmengine's training loop says of its data
    hub.update_info('loop_stage', 'train')
    hub.update_info('dataset_meta', loader.dataset.metainfo)
    try:
        distiller.check_dataset()
    finally:
        hub.pop_info('loop_stage')
        hub.pop_info('dataset_meta')
    data = distiller.data_preprocessor(next(iter(loader)), training=True)
    rows = None
    if 'logit' in distiller.places:
        with torch.no_grad():
            _, step = distiller.observe(data['inputs'], data['data_samples'])
            rows = tuple(distiller.compared_logits(step).student_logits.shape)
    plain_seconds, _ = _timed_step(distiller.student, data)
    seconds, losses = _timed_step(distiller, data)
    if plain_seconds + seconds < _LONG:  # the first of each is slow
        plain_seconds, _ = _timed_step(distiller.student, data)
        seconds, _ = _timed_step(distiller, data)
    return Trial(
        losses=losses,
        rows=rows,
        images=len(data['inputs']),
        plain_seconds=plain_seconds,
        seconds=seconds,
        classes=dataset_classes(loader.dataset),
    )


def _timed_step(
    model: BaseDetector, data: Mapping[str, Any]
) -> tuple[float, dict[str, float]]:
    _synchronize()
    begin = time.perf_counter()
    total, losses = model.parse_losses(
        model.loss(data['inputs'], data['data_samples'])
    )
    total.backward()
    _synchronize()
    seconds = time.perf_counter() - begin
    return seconds, {
        name: float(value)
        for name, value in losses.items()
        if isinstance(value, Tensor) and name.startswith('loss_')
    }


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _pair_table(
    pair: DetectorPair, choices: Mapping[str, Choice], trial: Trial
) -> Table:
    student, teacher = pair.student, pair.teacher.detector
    table = Table('', 'student', 'teacher', 'compared', box=None)
    table.add_row(
        'detector',
        type(student).__name__,
        type(teacher).__name__,
        f'teacher sha256 {pair.teacher.sha256[:8]}',
    )
    table.add_row(
        'classes',
        _some(trial.classes),
        _some(pair.teacher.classes),
        'names and order agree'
        if trial.classes and pair.teacher.classes
        else 'names are not known on both sides',
    )
    for name, choice in choices.items():
        shapes, note = _comparison(choice.place, pair, trial)
        loss = choice.loss['type']
        adapters = {
            'none' if isinstance(module, nn.Identity) else '1x1 convolution'
            for module in choice.place.adapters.values()
        }
        if adapters:
            note += f', adapters: {" and ".join(sorted(adapters))}'
        table.add_row(name, *shapes, f'{loss}: {note}')
    return table


def _comparison(
    place: Place, pair: DetectorPair, trial: Trial
) -> tuple[tuple[str, str], str]:
    """What a place compares of either detector, and how much of it."""
    probes = pair.student_probe, pair.teacher_probe
    if place.entry == 'roi':
        student, teacher = (
            ', '.join('x'.join(map(str, maps)) for maps in probe.roi_maps)
            for probe in probes
        )
        stages = _number(probes[0].roi_maps, 'stage')
        return (student, teacher), f'RoI maps of {stages}'
    levels = getattr(place, 'levels', None)
    if levels is not None:
        strides = ', '.join(str(level.stride) for level in levels)
        student, teacher = (
            ', '.join(map(str, dict.fromkeys(probe.channels))) + ' channels'
            for probe in probes
        )
        return (student, teacher), (
            f'{_number(levels, "level")} of stride {strides}'
        )
    if trial.rows is None:
        return ('', ''), place.title
    rows, categories = trial.rows
    cost = getattr(place.loss, 'cost', 'none')
    return (f'{categories} logits', f'{categories} logits'), (
        f'{rows} rows of {trial.images} images, cost: {cost}'
    )


def _number(things: Any, noun: str) -> str:
    return f'{len(things)} {noun}' + 's' * (len(things) != 1)


def _some(names: tuple[str, ...] | None) -> str:
    if not names:
        return 'not known'
    shown = ', '.join(names[:3]) + (' ...' if len(names) > 3 else '')
    return f'{len(names)}: {shown}'


def _trial_table(trial: Trial) -> Table:
    table = Table('first step', '', box=None)
    for name, value in trial.losses.items():
        table.add_row(name, f'{value:.4g}')
    extra = trial.seconds / trial.plain_seconds - 1
    table.add_row(
        'seconds',
        f'{trial.seconds:.2f}, plain training {trial.plain_seconds:.2f} '
        f'({extra:+.0%}), {trial.images} images',
    )
    return table
