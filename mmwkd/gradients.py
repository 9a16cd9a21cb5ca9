"""How strongly each loss of a distiller pulls at its student."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmdet.registry import MODELS
from mmengine.runner import Runner, load_checkpoint
from rich.console import Console
from rich.table import Table

from mmwkd.configs import is_distiller, read_config
from mmwkd.distillers import DetectorDistiller


class Pull(NamedTuple):
    """What a loss is on a batch, and what it does."""

    value: float
    gradient: float  # norm with respect to the backbone and the neck


def gradient_norms(
    distiller: DetectorDistiller, batch: Mapping[str, Any]
) -> dict[str, Pull]:
    """Value and gradient norm of each loss on one batch.

    Args:
        distiller: The distiller, in training mode; it is not changed.
        batch: As a data loader yields it.

    Returns:
        The losses by their keys, the student's own first.
    """
    data = distiller.data_preprocessor(batch, training=True)
    shared = [
        parameter
        for name, parameter in distiller.student.named_parameters()
        if name.startswith(('backbone.', 'neck.')) and parameter.requires_grad
    ]
    pulls: dict[str, Pull] = {}
    for name, loss in distiller(**data, mode='loss').items():
        if 'loss' not in name:
            continue
        if isinstance(loss, (list, tuple)):  # one of each level
            loss = sum(loss)
        grads = torch.autograd.grad(
            loss, shared, retain_graph=True, allow_unused=True
        )
        norms = [grad.norm() for grad in grads if grad is not None]
        norm = torch.stack(norms).norm() if norms else 0.0
        pulls[name] = Pull(float(loss.detach()), float(norm))
    return pulls


def print_gradients(
    config: Path,
    *,
    student: str | None,
    batches: int,
    cfg_options: Sequence[str],
) -> None:
    """Do what :func:`mmwkd.commands.gradients` describes."""
    cfg = read_config(str(config), cfg_options)
    if not is_distiller(cfg.get('model', {})):
        raise ValueError(f'{config} is not the config of a distiller')
    torch.manual_seed(0)
    distiller = MODELS.build(cfg.model)
    distiller.init_weights()
    if student:
        load_checkpoint(distiller.student, student, strict=True)
    distiller.to('cuda' if torch.cuda.is_available() else 'cpu').train()
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    console = Console(highlight=False)
    with console.status('batch 1') as status:
        runs = []
        for index, batch in enumerate(islice(loader, batches), start=1):
            status.update(f'batch {index} of {batches}')
            runs.append(gradient_norms(distiller, batch))
    console.print(_table(runs))


def _table(runs: list[dict[str, Pull]]) -> Table:
    """Means over batches; ratios are to ``loss_cls``."""
    means = {
        name: Pull(
            sum(run[name].value for run in runs) / len(runs),
            sum(run[name].gradient for run in runs) / len(runs),
        )
        for name in runs[0]
    }
    base = means.get('loss_cls') or next(iter(means.values()))
    table = Table('loss')
    for title in ('value', 'gradient norm', 'of loss_cls'):
        table.add_column(title, justify='right')
    for name, pull in means.items():
        ratio = pull.gradient / base.gradient if base.gradient else 0.0
        table.add_row(
            name,
            f'{pull.value:.4g}',
            f'{pull.gradient:.4g}',
            f'{ratio:.2f}',
        )
    return table
