"""Inspect a cost matrix, and the transport that it is used in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mmwkd.costs.annotations import (
    CategoryAnnotations,
    cut_thumbnails,
    read_annotations,
)
from mmwkd.costs.cost_matrix import CostMatrix
from mmwkd.costs.estimate import measure_confusion
from mmwkd.costs.plots import short_name
from mmwkd.costs.quality import compare_matrices, measure_quality
from mmwkd.costs.report import (
    REPORT,
    Figure,
    check_folder,
    comparison_figures,
    quality_figures,
    write_report,
)
from mmwkd.costs.roi_logits import TransportSubject
from mmwkd.costs.transport import (
    NUM_ITERS,
    REGS,
    TransportErrors,
    exact_costs,
    transport_errors,
    transport_plans,
)
from mmwkd.costs.transport_plots import draw_errors, draw_plans
from mmwkd.files import atomic_write, check_writable
from mmwkd.functional.checks import check_at_least
from mmwkd.functional.logit_distillation import class_distribution

_NEIGHBOURS_SHOWN = 100  # categories in the terminal; the report has all


def inspect_cost_matrix(
    file: Path,
    *,
    console: Console,
    compare: Path | None = None,
    ann_file: Path | None = None,
    img_prefix: Path | None = None,
    config: str | None = None,
    checkpoint: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    device: str | None = None,
    progress: Callable[..., Iterable[Any]] | None = None,
    kappa: float = 2.0,
    out_dir: Path | None = None,
    force: bool = False,
) -> Path:
    """Print how good a cost matrix is and write its report.

    Args:
        file: Cost matrix file.
        console: Where to print.
        compare: Another cost matrix of the same categories.
        ann_file: Annotations in COCO format.
        img_prefix: Folder of their images.
        config: Config of the teacher, or of a distiller, to measure what the
            teacher confuses on the validation split.
        checkpoint: Weights of the teacher; None for those that the
            distiller's config names.
        cfg_options: Changes to the config.
        device: Where the teacher runs; None for a GPU where there is one.
        progress: Wraps the teacher's batches, as ``tqdm`` does.
        kappa: Sharpness of the cost that is drawn.
        out_dir: Folder for the report; by default one named as the file, in
            ``work_dirs/cost_matrix``.
        force: Whether an earlier report may be replaced.

    Returns:
        Path of the report.

    Raises:
        FileExistsError: If there is a report and ``force`` is not set.
        FileNotFoundError: If a file does not exist.
        ValueError: If a file is not what it should be.
    """
    if img_prefix is not None and ann_file is None:
        raise ValueError(
            '--img-prefix needs --ann-file, which says what is in the images'
        )
    if config is None and (checkpoint or cfg_options):
        raise ValueError(
            '--checkpoint and --cfg-options need --config, which says what '
            'teacher to run'
        )
    if not kappa > 0:
        raise ValueError(f'--kappa must be positive, got {kappa}')
    out_dir = out_dir or Path('work_dirs/cost_matrix') / file.stem
    check_folder(out_dir, force=force)
    check_writable(out_dir / REPORT, force=force)
    if img_prefix is not None and not img_prefix.is_dir():
        raise FileNotFoundError(f'--img-prefix {img_prefix} is no folder')
    matrix = CostMatrix.load(file)
    known = (
        CategoryAnnotations(None, {})
        if ann_file is None
        else read_annotations(ann_file, matrix.categories[:-1])
    )
    comparison = (
        None
        if compare is None
        else compare_matrices(matrix, CostMatrix.load(compare))
    )
    confusion = (
        None
        if config is None
        else measure_confusion(
            config,
            checkpoint,
            matrix,
            cfg_options=cfg_options,
            device=device,
            progress=progress,
        )
    )
    quality = measure_quality(matrix, known.supercategories, confusion)
    console.print(Text(f'{file}, estimator {matrix.estimator}', style='bold'))
    console.print(_figure_table(quality_figures(matrix, quality)))
    neighbours = Table(box=None, header_style='bold', pad_edge=False)
    neighbours.add_column('category', no_wrap=True)
    neighbours.add_column('nearest, with their distance 1 - IR')
    for name, near in list(quality.neighbours.items())[:_NEIGHBOURS_SHOWN]:
        neighbours.add_row(
            Text(name),
            Text(
                ', '.join(f'{n.category} {n.distance:.3f}' for n in near)
                or 'none'
            ),
        )
    console.print(neighbours)
    if comparison is not None:
        console.print(Text(f'against {compare}', style='bold'))
        console.print(_figure_table(comparison_figures(comparison)))
    report = write_report(
        out_dir,
        matrix,
        quality,
        comparison,
        supercategories=known.supercategories,
        thumbnails=(
            {}
            if img_prefix is None
            else cut_thumbnails(known.crops, img_prefix)
        ),
        kappa=kappa,
        force=force,
    )
    console.print(Text(f'report: {report}'), soft_wrap=True)
    return report


def _figure_table(figures: Sequence[Figure]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for figure in figures:
        table.add_row(
            Text(figure.name),
            Text.assemble(
                (figure.value, 'cyan'), '\n', (figure.reading, 'dim')
            ),
        )
    return table


def inspect_transport(
    subject: TransportSubject,
    out_dir: Path,
    *,
    console: Console,
    num_plans: int = 6,
    force: bool = False,
) -> tuple[Path, Path]:
    """Print and draw what entropic transport does on some RoIs.

    Args:
        subject: RoIs, the loss whose options are looked at, and names.
        out_dir: Folder for the pictures.
        console: Where to print.
        num_plans: RoIs whose plans are drawn: those with the largest
            distance.
        force: Whether existing pictures may be replaced.

    Returns:
        Paths of the picture of plans and of the picture of errors.

    Raises:
        FileExistsError: If a picture exists and ``force`` is not set.
        ValueError: If ``num_plans`` is not positive.
    """
    check_at_least(1, num_plans=num_plans)
    paths = out_dir / 'plans.png', out_dir / 'errors.png'
    for path in paths:
        check_writable(path, force=force)
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
    ).plan
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
    console.print(_error_table(errors, loss.reg))
    console.print(
        Text(
            f'In percent, mean over {len(source)} RoIs. Above: error of the '
            f'cost against the exact {errors.exact:.4g}. Below: mass that '
            "misses the teacher's distribution. *: the loss itself is more "
            'than 1 % off this.',
            style='dim',
        )
    )
    for path, picture in zip(paths, pictures, strict=True):
        with atomic_write(path, force=force) as file:
            file.write(picture)
        console.print(Text(str(path)), soft_wrap=True)
    return paths


def _error_table(errors: TransportErrors, own_reg: float) -> Table:
    table = Table(box=None, header_style='bold', pad_edge=False, leading=1)
    table.add_column('reg', no_wrap=True)
    for num_iters in errors.num_iters:
        table.add_column(f'{num_iters} it. ', justify='right', no_wrap=True)
    for row, reg in enumerate(errors.regs):
        cells = [
            f'{100 * bias:+.0f}{" " if accurate else "*"}\n'
            f'{100 * violation:.1f} '
            for bias, violation, accurate in zip(
                errors.bias[row],
                errors.violations[row],
                errors.loss_is_accurate[row],
                strict=True,
            )
        ]
        table.add_row(
            f'{reg:g}', *cells, style='bold' if reg == own_reg else ''
        )
    return table
