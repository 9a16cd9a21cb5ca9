"""How strongly each loss of a distiller pulls at its student."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmdet.registry import MODELS
from mmengine.runner import Runner, load_checkpoint
from rich.console import Console
from rich.table import Table
from torch import Tensor

from mmwkd.configs import is_distiller, read_config
from mmwkd.distillers import DetectorDistiller
from mmwkd.distillers.balance import squared_gradient, total
from mmwkd.distillers.capture import only_output, recorded_outputs


class Pull(NamedTuple):
    """What a loss is on a batch, and what it does."""

    value: float
    gradient: float  # norm with respect to the maps of the student's neck


def gradient_norms(
    distiller: DetectorDistiller, batch: Mapping[str, Any]
) -> dict[str, Pull]:
    """Value and gradient norm of each loss on one batch.

    Args:
        distiller: The distiller, in training mode.
        batch: As a data loader yields it.

    Returns:
        The losses by their keys, the student's own first.
    """
    data = distiller.data_preprocessor(batch, training=True)
    student = distiller.student
    neck = student.neck if student.with_neck else student.backbone
    with recorded_outputs({'neck': neck}) as outputs:
        losses = distiller(**data, mode='loss')
    maps = only_output('neck', outputs)
    maps = [maps] if isinstance(maps, Tensor) else list(maps)
    pulls: dict[str, Pull] = {}
    for name, value in losses.items():
        if 'loss' in name:
            loss = total({name: value})
            norm = squared_gradient(loss, maps).sqrt()
            pulls[name] = Pull(float(loss.detach()), float(norm))
    return pulls


def gradients(
    config: Path,
    /,
    *,
    student: str | None = None,
    batches: int = 8,
    cfg_options: tuple[str, ...] = (),
) -> None:
    """Compare the gradient of each loss with those of the student's own.

    Losses of other units cannot be compared, what they do to the student
    can: for each loss, the norm of its gradient with respect to the maps of
    the student's neck, averaged over batches of the config's training data.
    Nothing is trained.

    Args:
        config: Config of a distillation run.
        student: Checkpoint of the student's baseline, after a few hundred
            iterations, say; before them a focal loss has next to no
            gradient. By default the weights that training starts from.
        batches: Batches to average over.
        cfg_options: Changes of the config, each key=value.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If the config is not of a distiller.
    """
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
