"""What the entropic transport of WKD-L does on some RoIs.

Shapes: R RoIs, K categories, background included and last; E values of reg,
I numbers of iterations.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.runner import set_random_seed
from torch import Tensor

from mmwkd.configs import (
    dataset_classes,
    enter_scope,
    first_batch,
    is_distiller,
    model_of,
    training_loader,
    type_name,
)
from mmwkd.costs.cost_matrix import BACKGROUND
from mmwkd.costs.plots import (
    TransportErrors,
    draw_errors,
    draw_plans,
    short_name,
    write_pictures,
)
from mmwkd.distillers import DetectorDistiller
from mmwkd.distillers.checkpoint import load_strictly, read_weights
from mmwkd.extras import needs_extra
from mmwkd.functional import sinkhorn_cost
from mmwkd.functional.logit_distillation import class_distribution
from mmwkd.losses import WKDLogitLoss

with needs_extra('cost'):
    import ot

PICTURES = ('plans.png', 'errors.png')
REGS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
NUM_ITERS = (1, 2, 5, 10, 20, 50, 100)
# a mean exact distance below this has no digits to compare with
_NO_DISTANCE = 1e-6


def transport_plans(
    source: Tensor,
    sink: Tensor,
    cost: Tensor,
    *,
    excluded: Tensor | None = None,
    reg: float = 0.05,
    num_iters: int = 10,
) -> Tensor:
    r"""Entropic transport plans, computed in the log domain.

    The iterations are those of :func:`mmwkd.functional.sinkhorn_cost`, for
    the same problem, without its guards:

    .. math:: \log v = \log q - \log (G^\top u), \quad
              \log u = \log p - \log (G v), \quad
              P = \mathrm{diag}(u) \, G \, \mathrm{diag}(v)

    They hold for any ``reg``, but take (R, K, K) memory: this is for looking
    at a few RoIs. Nothing is differentiated.

    Returns:
        Plans, float64; entry (r, i, j) moves from i to j, (R, K, K).
    """
    log_p, log_q = (_double(side).log() for side in (source, sink))  # (R, K)
    return plans_of_logs(
        log_p,
        log_q,
        -_double(cost) / reg,
        excluded=excluded,
        num_iters=num_iters,
    )


def plans_of_logs(
    log_p: Tensor,
    log_q: Tensor,
    log_kernel: Tensor,
    *,
    excluded: Tensor | None,
    num_iters: int,
) -> Tensor:
    """Plans (R, K, K) of :func:`transport_plans`, with gradients.

    Logarithms of source and sink are of shape (R, K), that of the kernel is
    of (K, K).
    """
    log_u = torch.zeros_like(log_p)
    if excluded is not None:
        log_u.scatter_(1, excluded[:, None].long(), -torch.inf)
    for _ in range(num_iters):
        log_v = log_q - (log_u[:, :, None] + log_kernel).logsumexp(dim=1)
        log_u = log_p - (log_v[:, None] + log_kernel).logsumexp(dim=2)
    return (log_u[:, :, None] + log_kernel + log_v[:, None]).exp()


def _double(tensor: Tensor) -> Tensor:
    return tensor.detach().double()


def exact_costs(source: Tensor, sink: Tensor, cost: Tensor) -> Tensor:
    """Exact transport costs (R,) of pairs of histograms (POT's ``emd2``).

    Histograms (R, K) sum to 1; the ground cost is (K, K).
    """
    ground = np.ascontiguousarray(_double(cost).cpu().numpy())
    values = []
    for p, q in zip(_double(source), _double(sink), strict=True):
        # emd2 wants sums that agree to more digits than float32 has
        a, b = (p / p.sum()).cpu().numpy(), (q / q.sum()).cpu().numpy()
        values.append(float(ot.emd2(a, b, ground)))
    return torch.tensor(values, dtype=torch.float64)


def transport_errors(
    source: Tensor,
    sink: Tensor,
    cost: Tensor,
    *,
    excluded: Tensor | None = None,
    regs: Collection[float] = REGS,
    num_iters: Collection[int] = NUM_ITERS,
) -> TransportErrors:
    """Measure the loss's transport against the exact one, over its options.

    Arguments are those of :func:`transport_plans`, and values of its options.
    Errors are means over the RoIs.
    """
    regs, num_iters = tuple(sorted(regs)), tuple(sorted(num_iters))
    source, sink = _double(source), _double(sink)
    shape = len(regs), len(num_iters)
    values, violations = np.zeros(shape), np.zeros(shape)
    for cell in np.ndindex(shape):
        options: dict[str, Any] = dict(
            excluded=excluded,
            reg=regs[cell[0]],
            num_iters=num_iters[cell[1]],
        )
        plans = transport_plans(source, sink, cost, **options)
        missed = (plans.sum(dim=1) - sink).abs().sum(dim=1) / 2  # (R,)
        violations[cell] = missed.mean()
        sides = source.float(), sink.float(), cost.float()
        values[cell] = sinkhorn_cost(*sides, **options).mean()
    exact = float(exact_costs(source, sink, cost).mean())
    moves = exact >= _NO_DISTANCE
    bias = values / exact - 1 if moves else np.full(shape, np.nan)
    return TransportErrors(regs, num_iters, exact, bias, violations)


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
    enter_scope(config)
    distiller = MODELS.build(model_of(config))
    if checkpoint is None:
        distiller.init_weights()
    else:
        load_strictly(
            distiller.student,
            read_weights(checkpoint, 'checkpoint'),
            checkpoint,
            'checkpoint',
        )
    loader = training_loader(config, seed=seed, batch_size=num_images)
    classes = dataset_classes(loader.dataset) or ()
    loss = distiller.distillation_losses['logit']
    loss.check_classes(classes)
    # again: building a student draws more or less with other weights
    set_random_seed(seed)
    logits = observe_logits(distiller, first_batch(loader), num_rois)
    return TransportSubject(*logits, loss, (*classes, BACKGROUND))


@torch.no_grad()
def observe_logits(
    distiller: DetectorDistiller, batch: dict[str, Any], num_rois: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits on foreground RoIs of a batch, by the distiller's own capture.

    At most ``num_rois`` are taken, spread over the batch: logits (R, K) of
    the student and of the teacher, and targets (R,). The distiller is left
    in eval mode.
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
    pictures = {
        plans_file: draw_plans(
            source[shown], sink[shown], plans, categories, titles
        ),
        errors_file: draw_errors(
            errors, reg=loss.reg, num_iters=loss.num_iters
        ),
    }
    write_pictures(pictures, force=force)
    return plans_file, errors_file
