"""Look at a student and a teacher, and write the config that distils."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import revert_sync_batchnorm
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from mmwkd.configs import (
    dataset_classes,
    enter_scope,
    first_batch,
    first_difference,
    imported,
    is_distiller,
    model_of,
    read_config,
    read_model,
    training_loader,
    type_name,
    without_pretrained,
)
from mmwkd.distillers import DetectorDistiller
from mmwkd.distillers.alignment import DetectorPair
from mmwkd.distillers.places import Place, build_places
from mmwkd.distillers.teacher import build_teacher
from mmwkd.files import atomic_write
from mmwkd.quiet import quiet

LOSSES = Path(__file__).parent / '.mim' / 'configs' / '_base_' / 'losses'


class Trial(NamedTuple):
    """What one step on images of the run's own is made of."""

    losses: Mapping[str, float]
    rows: tuple[int, ...] | None  # of logits and their categories
    images: int
    plain_seconds: float
    seconds: float
    classes: tuple[str, ...] | None


def write_distillation(
    student: Path,
    teacher: tuple[str, str],
    *,
    out: Path,
    dry_run: bool = False,
    force: bool = False,
) -> None:
    """Do what :func:`mmwkd.commands.distil` describes, but training."""
    # of its own file, which is not silenced
    console = Console(file=sys.stdout, highlight=False)
    with silent(), console.status('reading configs') as status:
        config = read_config(str(student))
        for name in ('model', 'train_dataloader'):
            if config.get(name) is None:
                raise ValueError(
                    f'{student} has no {name}: give the config that trains '
                    'the student'
                )
        if is_distiller(config.model):
            raise ValueError(
                f'{student} distils already: give the config of the student'
            )
        folder = out.resolve().parent
        if not folder.is_dir():
            raise FileNotFoundError(
                f'{folder}, the folder of --out, does not exist'
            )
        enter_scope(config)
        status.update('building both detectors')
        options = dict(config=teacher[0], checkpoint=teacher[1])
        pair = DetectorPair(
            MODELS.build(read_model(str(student))), build_teacher(options)
        )
        pair.check_images()
        status.update('looking for places to compare')
        places, refused = choose(pair)
        text = config_text(student, teacher, places, config, folder=folder)
        status.update('one step on images of the training data')
        trial = try_step(_parsed(text, folder))
    console.print(_pair_table(pair, places, trial))
    for entry, why in refused.items():
        console.print(f'not compared, {entry}: {why}', markup=False)
    console.print(_trial_table(trial))
    if dry_run:
        console.print(text, markup=False)
        return
    with atomic_write(out, force=force) as file:
        file.write(text.encode())
    console.print(f'written: {out}', markup=False)


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


def choose(pair: DetectorPair) -> tuple[dict[str, Place], dict[str, str]]:
    """Choose places by trying them, with the recommended losses, on a pair.

    Class logits are compared wherever they can be; of the maps, those of RoIs
    rather than those of the necks (docs/results.md). Beside the places, by
    their entries in a distiller's config, is why others cannot be compared.
    """
    places: dict[str, Place] = {}
    refused: dict[str, str] = {}
    for name, loss in recommended().items():
        try:
            (places[name],) = build_places({name: loss}, pair).values()
        except ValueError as error:
            refused[name] = str(error)
    if 'roi_loss' in places:
        places.pop('neck_loss', None)
    if not places:
        reasons = '; '.join(f'{name}: {why}' for name, why in refused.items())
        raise ValueError(f'the detectors cannot be compared: {reasons}')
    return places, refused


def recommended() -> dict[str, Any]:
    """The losses of WKD by their entries, as the shipped configs have them."""
    return Config.fromfile(LOSSES / 'wkd.py').to_dict()


_CLASSIC = """\
# Written by `mmwkd distil`: change what you like.
_base_ = {base!r}  # the student: its data, schedule and hooks

custom_imports = dict(imports={imports!r})
{hook}model = dict(
    _delete_=True,
    type='{scope}DetectorDistiller',
    student=_base_.model,
    teacher=dict(
        config={config!r},
        checkpoint={checkpoint!r},
    ),
{losses}
    # no weights: training finds out how strong a loss has to be;
    # loss_weight=2 makes one twice as strong
)
"""

# what a config in pure Python has instead
_PURE = {
    '_base_ = {base!r}': """\
from mmengine.config import read_base

with read_base():
    from .{base} import *""",
    '    _delete_=True,\n': '',
    '_base_.model': 'model',
}


def config_text(
    student: Path,
    teacher: tuple[str, str],
    places: Mapping[str, Place],
    config: Config,
    *,
    folder: Path,
) -> str:
    """Write the config that a person would write, in the student's style.

    The student is a path and the config that was read from it.
    """
    own, pure = student.resolve(), Config._is_lazy_import(str(student))
    base = own.stem if pure else os.path.relpath(own, folder)
    if pure and (own.parent != folder or not base.isidentifier()):
        raise ValueError(
            f'{student} is a config in pure Python, which only a config '
            'beside it can read, by a name without dots and hyphens: '
            f'rename it if need be, and set --out {own.parent}/...'
        )
    if base.startswith(os.path.join('..', '..')):
        base = str(own)  # nothing that both would be moved with
    template = _CLASSIC
    for classic, instead in _PURE.items() if pure else ():
        template = template.replace(classic, instead)
    losses = [
        f'    # {_what(place)}\n'
        f'    {name}=dict(type={type(place.loss).__name__!r}),'
        for name, place in places.items()
    ]
    scope = '' if config.get('default_scope') == 'mmdet' else 'mmdet.'
    return template.format(
        base=base,
        imports=[*imported(config), 'mmwkd'],
        scope=scope,
        hook=_hook_text(config, scope, pure=pure),
        config=teacher[0],
        checkpoint=teacher[1],
        losses='\n'.join(losses),
    )


def _hook_text(config: Config, scope: str, *, pure: bool) -> str:
    """What makes a student's checkpoint hook a safe one, if it is mmengine's.

    Options that the student gives it stay.
    """
    hooks = config.get('default_hooks') or {}
    checkpoint = hooks.get('checkpoint', dict(type='CheckpointHook'))
    known = ('CheckpointHook', 'SafeCheckpointHook')
    if checkpoint is None or type_name(checkpoint) not in known:
        return ''  # a choice of the student's own
    change = (
        'default_hooks.update(' if pure and hooks else 'default_hooks = dict('
    )
    return (
        '# neither a kill nor a full disk costs a checkpoint\n'
        f"{change}checkpoint=dict(type='{scope}SafeCheckpointHook'))\n"
    )


def _what(place: Place) -> str:
    """What a place compares, for people."""
    if place.compares != 'features':
        compared = 'boxes' if place.compares == 'boxes' else 'class logits'
        return f'{compared} {place.title.partition(" ")[2]}'.strip()
    return 'RoIAlign maps' if place.entry == 'roi' else f'{place.entry} maps'


def _parsed(text: str, folder: Path) -> Config:
    """The config, read as if it lay in its folder."""
    with tempfile.NamedTemporaryFile(
        'w', dir=folder, prefix='distil_', suffix='.py'
    ) as file:
        file.write(text)
        file.flush()
        return Config.fromfile(file.name)


def try_step(config: Config) -> Trial:
    """Take whole steps of training, and of plain training."""
    loader = training_loader(config)
    hub = MessageHub.get_current_instance()
    model = model_of(config)
    without_pretrained(model.student)
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
    data = distiller.data_preprocessor(first_batch(loader), training=True)
    rows = None
    if 'logit' in distiller.places:
        with torch.no_grad():
            _, step = distiller.observe(data['inputs'], data['data_samples'])
            rows = tuple(distiller.compared_logits(step).student_logits.shape)
    _, losses = _timed_step(distiller, data)  # the first is slow
    distiller.balance.frozen = True  # as in nearly all steps of a training
    return Trial(
        losses=losses,
        rows=rows,
        images=len(data['inputs']),
        plain_seconds=_timed_step(distiller.student, data)[0],
        seconds=_timed_step(distiller, data)[0],
        classes=dataset_classes(loader.dataset),
    )


def _timed_step(
    model: BaseDetector, data: Mapping[str, Any]
) -> tuple[float, dict[str, float]]:
    begin = time.perf_counter()
    total, losses = model.parse_losses(
        model.loss(data['inputs'], data['data_samples'])
    )
    total.backward()
    values = {
        name: float(value)
        for name, value in losses.items()
        if isinstance(value, Tensor) and name.startswith('loss_')
    }
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin, values


def _pair_table(
    pair: DetectorPair, places: Mapping[str, Place], trial: Trial
) -> Table:
    table = Table('', 'student', 'teacher', 'compared', box=None)
    table.add_row(
        'detector',
        type(pair.student).__name__,
        type(pair.teacher.detector).__name__,
        f'teacher sha256 {pair.teacher.sha256[:8]}',
    )
    table.add_row(
        'classes',
        _some(trial.classes),
        _some(pair.teacher.classes),
        _agreement(trial.classes, pair.teacher.classes),
    )
    for name, place in places.items():
        *sides, size = _sizes(place, pair, trial)
        notes = [f'{type(place.loss).__name__} on {_what(place)}', size]
        adapters = {type(adapter) for adapter in place.adapters.values()}
        if adapters:
            plain = adapters == {nn.Identity}
            notes.append(f'adapters: {"none" if plain else "1x1 convolution"}')
        table.add_row(name, *sides, ', '.join(filter(None, notes)))
    return table


def _agreement(
    classes: tuple[str, ...] | None, teacher_classes: tuple[str, ...] | None
) -> str:
    if not (classes and teacher_classes):
        return 'names are not known'
    if classes == teacher_classes:
        return 'names and order agree'
    return f'not the same: {first_difference(classes, teacher_classes)}'


def _some(names: tuple[str, ...] | None) -> str:
    if not names:
        return 'not known'
    shown = ', '.join(names[:3]) + (' ...' if len(names) > 3 else '')
    return f'{len(names)}: {shown}'


def _sizes(
    place: Place, pair: DetectorPair, trial: Trial
) -> tuple[str, str, str]:
    """How much a place compares of either detector, and of both."""
    probes = pair.student_probe, pair.teacher_probe
    if place.entry == 'roi':
        student, teacher = (
            ', '.join('x'.join(map(str, maps)) for maps in probe.roi_maps)
            for probe in probes
        )
        return student, teacher, ''
    if place.compares == 'features':
        student, teacher = (
            ', '.join(map(str, dict.fromkeys(probe.channels))) + ' channels'
            for probe in probes
        )
        strides = [str(level.stride) for level in getattr(place, 'levels', ())]
        return student, teacher, f'levels of stride {", ".join(strides)}'
    if place.compares == 'boxes' or trial.rows is None:
        return '', '', ''
    cost = getattr(place.loss, 'cost', 'none')
    row = f'{trial.rows[0]} rows of {trial.images} images, cost: {cost}'
    return f'{trial.rows[1]} logits', f'{trial.rows[1]} logits', row


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
