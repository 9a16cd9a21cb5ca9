"""Pictures of entropic transport, as PNGs.

Shapes: R RoIs, K categories; E values of reg, I numbers of iterations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from mmwkd.costs.plots import FAINT, picture_style, short_name, to_png
from mmwkd.costs.transport import TransportErrors
from mmwkd.extras import needs_extra

with needs_extra('cost'):
    import seaborn as sns
    from matplotlib.axes import Axes
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.patches import Rectangle

_MIN_MASS = 0.01  # of a category that is shown
_MAX_SHOWN = 10
_STUDENT, _TEACHER = '#1769e0', '#e08a00'


def draw_plans(
    source: Tensor,
    sink: Tensor,
    plans: Tensor,
    categories: Sequence[str],
    titles: Sequence[str],
) -> bytes:
    """Draw transport plans between their marginals.

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
            figsize=(6.2 * columns, 5.6 * rows), layout='constrained'
        )
        parts = figure.subfigures(rows, columns, squeeze=False).flatten()
        for index, title in enumerate(titles):
            _draw_plan(
                parts[index],
                source[index].double().numpy(),
                sink[index].double().numpy(),
                plans[index].double().numpy(),
                categories,
                title,
            )
        return to_png(figure)


def _draw_plan(
    figure: SubFigure,
    source: np.ndarray,
    sink: np.ndarray,
    plan: np.ndarray,
    categories: Sequence[str],
    title: str,
) -> None:
    mass = np.maximum(source, sink)  # (K,)
    shown = np.argsort(-mass, kind='stable')[:_MAX_SHOWN]
    shown = shown[mass[shown] >= min(_MIN_MASS, mass.max())]
    names = [short_name(categories[i], 14) for i in shown]
    axes = figure.subplots(
        2, 2, width_ratios=(1, 4), height_ratios=(1, 4), squeeze=False
    )
    corner, top, left, centre = axes.flatten()
    corner.set_axis_off()
    corner.text(0, 0.2, 'moved mass\nin percent', fontsize=8, color=FAINT)
    figure.suptitle(title, fontsize=9.5, x=0.02, ha='left')
    ticks = np.arange(len(shown))
    top.bar(ticks, sink[shown], color=_TEACHER)
    top.set_xlim(-0.5, len(shown) - 0.5)
    top.set_xticks([])
    top.set_title('teacher', fontsize=9, color=_TEACHER)
    left.barh(ticks, source[shown], color=_STUDENT)
    left.set_ylim(len(shown) - 0.5, -0.5)
    left.invert_xaxis()
    left.set_yticks([])
    left.set_title('student', fontsize=9, color=_STUDENT)
    for bars in (top, left):
        bars.spines[['top', 'right']].set_visible(False)
    percent = 100 * plan[np.ix_(shown, shown)]
    texts = np.where(percent >= 0.5, np.char.mod('%.0f', percent), '')
    sns.heatmap(
        percent,
        ax=centre,
        annot=texts,
        fmt='',
        annot_kws=dict(fontsize=7),
        cmap='Greys',
        vmin=0,
        cbar=False,
        xticklabels=names,
        yticklabels=names,
    )
    centre.tick_params(axis='x', rotation=90)
    centre.tick_params(axis='y', rotation=0)


def draw_errors(
    errors: TransportErrors, *, reg: float, num_iters: int
) -> bytes:
    """Draw what Sinkhorn gets wrong over the grid of options.

    Args:
        errors: What was measured.
        reg: The loss's own option, one of the measured, outlined.
        num_iters: The same of its iterations.

    Returns:
        A PNG.
    """
    with picture_style():
        figure = Figure(figsize=(12.5, 5.2), layout='constrained')
        axes = figure.subplots(1, 2)
        _draw_grid(
            axes[0],
            errors,
            100 * errors.bias,
            f'cost against the exact {errors.exact:.4g}, in percent',
            cmap='RdBu_r',
            norm=Normalize(-100, 100, clip=True),
            fmt='+.0f',
        )
        _draw_grid(
            axes[1],
            errors,
            100 * errors.violations,
            "mass that misses the teacher's distribution, in percent",
            cmap='YlOrBr',
            norm=LogNorm(0.01, 100, clip=True),
            fmt='.1f',
        )
        corner = errors.num_iters.index(num_iters), errors.regs.index(reg)
        for grid in axes:
            grid.add_patch(
                Rectangle(corner, 1, 1, fill=False, lw=2.5, clip_on=False)
            )
        figure.supxlabel(
            "outlined: the loss's own options; crossed out: the loss itself "
            'is more than 1 % off these values',
            fontsize=9,
            color=FAINT,
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
    for i, j in np.argwhere(~errors.loss_is_accurate):
        axes.plot(
            [j + 0.08, j + 0.92], [i + 0.92, i + 0.08], color=FAINT, lw=0.8
        )
