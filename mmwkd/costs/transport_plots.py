"""Pictures of entropic transport, as PNGs.

Shapes: R RoIs, K categories; E values of reg, I numbers of iterations.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from mmwkd.costs.plots import FAINT, picture_style, short_name, to_png
from mmwkd.extras import needs_extra

with needs_extra('cost'):
    import seaborn as sns
    from matplotlib.axes import Axes
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

_MIN_MASS = 0.01  # of a category that is shown
_MAX_SHOWN = 10


class TransportErrors(NamedTuple):
    """What the loss computes against exact transport, on the same RoIs."""

    regs: tuple[float, ...]  # E
    num_iters: tuple[int, ...]  # I
    exact: float  # mean exact distance
    bias: np.ndarray  # (E, I), of the mean cost; NaN where nothing is to move
    violations: np.ndarray  # (E, I), mean mass that misses the sink, in [0, 1]


def draw_plans(
    source: Tensor,
    sink: Tensor,
    plans: Tensor,
    categories: Sequence[str],
    titles: Sequence[str],
) -> bytes:
    """Draw transport plans as tables, with their marginals beside the names.

    A row is a category of the student, a column one of the teacher; each
    RoI shows the categories with the most mass.

    Args:
        source: Student's distributions, of shape (R, K).
        sink: Teacher's distributions, of shape (R, K).
        plans: Plans, of shape (R, K, K).
        categories: Names, K.
        titles: A title for each RoI.

    Returns:
        A PNG.
    """
    columns = min(2, len(titles))
    rows = math.ceil(len(titles) / columns)
    with picture_style():
        figure = Figure(
            figsize=(6.2 * columns, 5.2 * rows), layout='constrained'
        )
        axes = figure.subplots(rows, columns, squeeze=False).flatten()
        for index, title in enumerate(titles):
            shares, goals, moved = (
                100 * part[index].double().numpy()
                for part in (source, sink, plans)
            )
            _draw_plan(axes[index], shares, goals, moved, categories)
            axes[index].set_title(title, fontsize=9.5, loc='left')
        for spare in axes[len(titles) :]:
            spare.set_axis_off()
        return to_png(figure)


def _draw_plan(
    axes: Axes,
    source: np.ndarray,
    sink: np.ndarray,
    plan: np.ndarray,
    categories: Sequence[str],
) -> None:
    """Draw a plan (K, K) and its marginals (K,), all in per cent."""
    mass = np.maximum(source, sink)
    shown = np.argsort(-mass, kind='stable')[:_MAX_SHOWN]
    shown = shown[mass[shown] >= min(100 * _MIN_MASS, mass.max())]
    student, teacher = (
        [f'{short_name(categories[i], 14)}  {side[i]:.0f}' for i in shown]
        for side in (source, sink)
    )
    moved = plan[np.ix_(shown, shown)]
    sns.heatmap(
        moved,
        ax=axes,
        annot=np.where(moved >= 0.5, np.char.mod('%.0f', moved), ''),
        fmt='',
        annot_kws=dict(fontsize=7),
        cmap='Greys',
        vmin=0,
        cbar=False,
        xticklabels=teacher,
        yticklabels=student,
    )
    axes.set(xlabel='teacher, percent', ylabel='student, percent')
    axes.tick_params(axis='x', rotation=90)
    axes.tick_params(axis='y', rotation=0)


def draw_errors(
    errors: TransportErrors, *, reg: float, num_iters: int
) -> bytes:
    """Draw what Sinkhorn gets wrong over the grid of options.

    The loss's own options, which are among the measured, are outlined.
    """
    corner = errors.num_iters.index(num_iters), errors.regs.index(reg)
    with picture_style():
        figure = Figure(figsize=(12.5, 5.2), layout='constrained')
        bias, violations = figure.subplots(1, 2)
        _draw_grid(
            bias,
            errors,
            100 * errors.bias,
            f'cost against the exact {errors.exact:.4g}, in percent',
            cmap='RdBu_r',
            norm=Normalize(-100, 100, clip=True),
            fmt='+.0f',
        )
        _draw_grid(
            violations,
            errors,
            100 * errors.violations,
            "mass that misses the teacher's distribution, in percent",
            cmap='YlOrBr',
            norm=LogNorm(0.01, 100, clip=True),
            fmt='.1f',
        )
        for axes in (bias, violations):
            axes.add_patch(
                Rectangle(corner, 1, 1, fill=False, lw=2.5, clip_on=False)
            )
        figure.supxlabel(
            "outlined: the loss's own options", fontsize=9, color=FAINT
        )
        return to_png(figure)


def _draw_grid(
    axes: Axes,
    errors: TransportErrors,
    percent: np.ndarray,
    title: str,
    **options: Any,
) -> None:
    sns.heatmap(
        percent,
        ax=axes,
        annot=True,
        cbar=False,
        xticklabels=[str(n) for n in errors.num_iters],
        yticklabels=[f'{reg:g}' for reg in errors.regs],
        **options,
    )
    axes.set(xlabel='iterations', ylabel='reg')
    axes.set_title(title, loc='left', fontsize=10)
    axes.tick_params(axis='y', rotation=0)
