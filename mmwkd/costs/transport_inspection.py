"""What the entropic transport of WKD-L does on some RoIs.

Shapes: R RoIs, K categories, background included and last.
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.runner import Runner, set_random_seed
from torch import Tensor

from mmwkd.configs import (
    dataset_classes,
    is_distiller,
    type_name,
)
from mmwkd.costs.cost_matrix import BACKGROUND
from mmwkd.costs.plots import short_name
from mmwkd.costs.transport import (
    NUM_ITERS,
    REGS,
    exact_costs,
    transport_errors,
    transport_plans,
)
from mmwkd.costs.transport_plots import draw_errors, draw_plans
from mmwkd.distillers import DetectorDistiller
from mmwkd.distillers.checkpoint import load_strictly, read_weights
from mmwkd.files import atomic_write
from mmwkd.functional.logit_distillation import class_distribution
from mmwkd.losses import WKDLogitLoss

PICTURES = ('plans.png', 'errors.png')


class TransportSubject(NamedTuple):
    """What there is to look at: logits on some RoIs, and the bound loss."""

    student_logits: Tensor  # (R, K)
    teacher_logits: Tensor  # (R, K)
    target: Tensor  # (R,), label of each RoI
    loss: WKDLogitLoss
    categories: tuple[str, ...]  # K


def subject_of(
    config: Config,
    checkpoint: str | None = None,
    *,
    num_images: int = 8,
    num_rois: int = 32,
    seed: int = 0,
) -> TransportSubject:
    """Run a distiller on a few training images and take foreground RoIs.

    Both detectors are in eval mode, and nothing is trained. Arguments are
    those of :func:`mmwkd.commands.cost_transport`.
    """
    model = config.get('model', {})
    if not is_distiller(model) or (
        type_name(model.get('logit_loss') or {}) != 'WKDLogitLoss'
    ):
        raise ValueError(
            'the config has no DetectorDistiller whose logit_loss is a '
            'WKDLogitLoss, the one that transports'
        )
    set_random_seed(seed)
    distiller = MODELS.build(model)
    if checkpoint is None:
        distiller.init_weights()
    else:
        load_strictly(
            distiller.student,
            read_weights(checkpoint, 'checkpoint'),
            checkpoint,
            'checkpoint',
        )
    loader = Runner.build_dataloader(
        dict(
            config.train_dataloader,
            batch_size=num_images,
            num_workers=0,
            persistent_workers=False,
        ),
        seed=seed,
    )
    classes = dataset_classes(loader.dataset) or ()
    loss = distiller.distillation_losses['logit']
    loss.check_classes(classes)
    # again: building a student draws more or less with other weights
    set_random_seed(seed)
    logits = observe_logits(distiller, next(iter(loader)), num_rois)
    return TransportSubject(*logits, loss, (*classes, BACKGROUND))


@torch.no_grad()
def observe_logits(
    distiller: DetectorDistiller, batch: dict[str, Any], num_rois: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits on foreground RoIs of a batch, by the distiller's own capture.

    Args:
        distiller: A distiller with a ``logit_loss``; left in eval mode.
        batch: Unprocessed batch, as the dataloader yields it.
        num_rois: RoIs to take at most, spread over the batch.

    Returns:
        Logits (R, K) of the student and of the teacher, and targets (R,).

    Raises:
        ValueError: If no sampled RoI is of an object.
    """
    distiller.eval()
    data = distiller.data_preprocessor(batch, training=True)
    _, step = distiller.observe(data['inputs'], data['data_samples'])
    student_logits, teacher_logits, target, _ = distiller.compared_logits(step)
    found = (target < student_logits.shape[1] - 1).nonzero().flatten()
    if len(found) == 0:
        raise ValueError(
            'no sampled RoI is of an object; try more images (--num-images)'
        )
    spread = torch.linspace(0, len(found) - 1, min(num_rois, len(found)))
    rows = found[spread.round().long().to(found.device)]
    return (
        student_logits[rows].float().cpu(),
        teacher_logits[rows].float().cpu(),
        target[rows].cpu(),
    )


def inspect_transport(
    subject: TransportSubject,
    out_dir: Path,
    *,
    num_plans: int = 6,
    force: bool = False,
) -> tuple[Path, Path]:
    """Print and draw what entropic transport does on some RoIs."""
    student_logits, teacher_logits, target, loss, categories = subject
    assert loss.ground_cost is not None  # a subject's loss is bound
    cost = loss.ground_cost.cpu()
    excluded = target if loss.separate_target else None
    source, sink = (
        class_distribution(side, excluded, loss.temperature)
        for side in (student_logits, teacher_logits)
    )
    errors = transport_errors(
        source,
        sink,
        cost,
        excluded=excluded,
        regs={*REGS, loss.reg},
        num_iters={*NUM_ITERS, loss.num_iters},
        domain=loss.domain,
    )
    exact = exact_costs(source, sink, cost)
    shown = exact.argsort(descending=True, stable=True)[:num_plans]
    plans = transport_plans(
        source[shown],
        sink[shown],
        cost,
        excluded=None if excluded is None else excluded[shown],
        reg=loss.reg,
        num_iters=loss.num_iters,
    )
    values = (plans * cost).sum(dim=(1, 2))
    titles = [
        f'target {short_name(categories[target[row]])}: '
        f'cost {value:.3f}, exact {exact[row]:.3f}'
        for row, value in zip(shown.tolist(), values.tolist(), strict=True)
    ]
    at = errors.regs.index(loss.reg), errors.num_iters.index(loss.num_iters)
    print(
        f'{len(source)} RoIs, reg {loss.reg:g}, {loss.num_iters} iterations: '
        f'the cost differs by {100 * errors.bias[at]:+.0f} % from '
        f'the exact {errors.exact:.4g}, and '
        f'{100 * errors.violations[at]:.1f} % of the mass misses the '
        "teacher's distribution"
    )
    plans_file, errors_file = (out_dir / name for name in PICTURES)
    drawn = {
        plans_file: draw_plans(
            source[shown], sink[shown], plans, categories, titles
        ),
        errors_file: draw_errors(
            errors, reg=loss.reg, num_iters=loss.num_iters
        ),
    }
    for path, picture in drawn.items():
        with atomic_write(path, force=force) as file:
            file.write(picture)
        print(path)
    return plans_file, errors_file
