"""How strongly each loss of a distiller pulls at its student."""

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmdet.registry import MODELS
from mmengine.runner import load_checkpoint, set_random_seed
from rich.console import Console
from rich.table import Table
from torch import Tensor

from mmwkd.configs import is_distiller, read_config, training_loader
from mmwkd.distillers import DetectorDistiller
from mmwkd.distillers.balance import squared_gradient, total
from mmwkd.distillers.capture import only_output, recorded_outputs

OWN = "the student's own"


class Pull(NamedTuple):
    """What a loss is on a batch, and what it does."""

    value: float
    gradient: float  # norm with respect to the maps of the student's neck


def gradient_norms(
    distiller: DetectorDistiller, batch: Mapping[str, Any]
) -> dict[str, Pull]:
    """Value and gradient norm of each loss on a batch of a data loader.

    The distiller is in training mode. Losses are by their keys, the student's
    own first; before them, under :data:`OWN`, these together.
    """
    data = distiller.data_preprocessor(batch, training=True)
    student = distiller.student
    neck = student.neck if student.with_neck else student.backbone
    with recorded_outputs({'neck': neck}) as outputs:
        losses = distiller(**data, mode='loss')
    maps = only_output('neck', outputs)
    maps = [maps] if isinstance(maps, Tensor) else list(maps)
    distillation = tuple(
        f'loss_{loss.method}_{place}_'
        for place, loss in distiller.distillation_losses.items()
    )
    own = {k: v for k, v in losses.items() if not k.startswith(distillation)}
    pulls: dict[str, Pull] = {}
    for name, value in {OWN: own, **losses}.items():
        if name == OWN or 'loss' in name:
            loss = total(own if name == OWN else {name: value})
            norm = squared_gradient(loss, maps).sqrt()
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
    set_random_seed(0)
    distiller: DetectorDistiller = MODELS.build(cfg.model)
    distiller.init_weights()
    if student:
        load_checkpoint(distiller.student, student, strict=True)
    distiller.to('cuda' if torch.cuda.is_available() else 'cpu').train()
    loader = training_loader(cfg)
    data = list(islice(loader, batches))
    balance, console = distiller.balance, Console(highlight=False)
    with console.status('balance') as status:
        for batch in data if balance.interval else ():
            gradient_norms(distiller, batch)
        balance.frozen = True
        runs = []
        for index, batch in enumerate(data, start=1):
            status.update(f'batch {index} of {batches}')
            runs.append(gradient_norms(distiller, batch))
    console.print(_table(runs))
    factors = ', '.join(
        f'{name} {float(factor):.3g}'
        for name, factor in balance.factors().items()
    )
    if factors:
        console.print(f'factors of these batches: {factors}')


def _table(runs: list[dict[str, Pull]]) -> Table:
    """Means over batches; ratios are to the student's own losses together."""
    table = Table('loss')
    for title in ('value', 'gradient norm', 'of the own'):
        table.add_column(title, justify='right')
    norms = {
        name: sum(run[name].gradient for run in runs) / len(runs)
        for name in runs[0]
    }
    for name, norm in norms.items():
        value = sum(run[name].value for run in runs) / len(runs)
        ratio = norm / norms[OWN] if norms[OWN] else 0.0
        table.add_row(name, f'{value:.4g}', f'{norm:.4g}', f'{ratio:.2f}')
    return table
