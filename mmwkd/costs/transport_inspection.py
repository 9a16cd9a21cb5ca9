"""Show what the entropic transport of WKD-L does on some RoIs."""

from __future__ import annotations

from pathlib import Path

from mmwkd.costs.plots import short_name
from mmwkd.costs.roi_logits import TransportSubject, subject_from_config
from mmwkd.costs.transport import (
    NUM_ITERS,
    REGS,
    exact_costs,
    transport_errors,
    transport_plans,
)
from mmwkd.costs.transport_plots import draw_errors, draw_plans
from mmwkd.files import atomic_write, check_writable
from mmwkd.functional.checks import check_at_least
from mmwkd.functional.logit_distillation import class_distribution


def cost_transport(
    config: str,
    checkpoint: str | None = None,
    /,
    *,
    cost: Path | None = None,
    num_images: int = 8,
    num_rois: int = 32,
    num_plans: int = 6,
    seed: int = 0,
    temperature: float | None = None,
    kappa: float | None = None,
    reg: float | None = None,
    num_iters: int | None = None,
    out_dir: Path = Path('work_dirs/transport'),
    force: bool = False,
) -> tuple[Path, Path]:
    """Show what entropic transport does on RoIs, and what reg does to it.

    The distiller of a config is run on a few training images.

    Args:
        config: Config of a distillation run.
        checkpoint: The student's checkpoint; by default its initial weights.
        cost: Cost matrix file; by default the config's own cost.
        num_images: Training images to run on.
        num_rois: Foreground RoIs to take at most.
        num_plans: Plans to draw, of the RoIs with the largest distance.
        seed: Seed of initial weights, images and RoI sampling.
        temperature: Instead of the loss's own.
        kappa: Instead of the loss's own.
        reg: Instead of the loss's own.
        num_iters: Instead of the loss's own.
        out_dir: Folder for the pictures.
        force: Whether earlier pictures may be replaced.

    Returns:
        Paths of the picture of plans and of the picture of errors.

    Raises:
        FileExistsError: If a picture exists and ``force`` is not set.
        ValueError: If the config is of no such run, or no RoI is of an
            object.
    """
    check_at_least(
        1, num_images=num_images, num_rois=num_rois, num_plans=num_plans
    )
    for path in _pictures(out_dir):
        check_writable(path, force=force)
    overridden = dict(
        temperature=temperature, kappa=kappa, reg=reg, num_iters=num_iters
    )
    options = {k: v for k, v in overridden.items() if v is not None}
    subject = subject_from_config(
        config,
        checkpoint,
        cost=cost,
        num_images=num_images,
        num_rois=num_rois,
        seed=seed,
        **options,
    )
    return inspect_transport(
        subject, out_dir, num_plans=num_plans, force=force
    )


def _pictures(out_dir: Path) -> tuple[Path, Path]:
    return out_dir / 'plans.png', out_dir / 'errors.png'


def inspect_transport(
    subject: TransportSubject,
    out_dir: Path,
    *,
    num_plans: int = 6,
    force: bool = False,
) -> tuple[Path, Path]:
    """Print and draw what entropic transport does on some RoIs.

    Args:
        subject: RoIs, the loss whose options are looked at, and names.
        out_dir: Folder for the pictures.
        num_plans: See :func:`cost_transport`.
        force: See :func:`cost_transport`.

    Returns:
        See :func:`cost_transport`.
    """
    logits, loss = subject.logits, subject.loss
    assert loss.ground_cost is not None  # a subject's loss is bound
    cost = loss.ground_cost.cpu()
    excluded = logits.target if loss.separate_target else None
    source, sink = (
        class_distribution(side, excluded, loss.temperature)
        for side in (logits.student_logits, logits.teacher_logits)
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
        f'target {short_name(subject.categories[logits.target[row]])}: '
        f'cost {value:.3f}, exact '
        f'{exact[row]:.3f}'
        for row, value in zip(shown.tolist(), values.tolist(), strict=True)
    ]
    pictures = (
        draw_plans(
            source[shown], sink[shown], plans, subject.categories, titles
        ),
        draw_errors(errors, reg=loss.reg, num_iters=loss.num_iters),
    )
    row, column = (
        errors.regs.index(loss.reg),
        errors.num_iters.index(loss.num_iters),
    )
    print(
        f'{len(source)} RoIs, reg {loss.reg:g}, {loss.num_iters} iterations: '
        f'the cost differs by {100 * errors.bias[row, column]:+.0f} % from '
        f'the exact {errors.exact:.4g}, and '
        f'{100 * errors.violations[row, column]:.1f} % of the mass misses the '
        "teacher's distribution"
    )
    paths = _pictures(out_dir)
    for path, picture in zip(paths, pictures, strict=True):
        with atomic_write(path, force=force) as file:
            file.write(picture)
        print(path)
    return paths
