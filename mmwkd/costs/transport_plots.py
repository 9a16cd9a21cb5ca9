"""Pictures of entropic transport, as PNGs.

Shapes: R RoIs, K categories; E values of reg, I numbers of iterations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from torch import Tensor

from mmwkd.costs.plots import FAINT, picture_style, short_name, to_png
from mmwkd.costs.transport import TransportErrors

_DPI = 120
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
            figsize=(6.2 * columns, 5.6 * rows), dpi=_DPI, layout='constrained'
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
    values = plan[np.ix_(shown, shown)]
    centre.imshow(values, cmap='Greys', vmin=0, aspect='auto')
    centre.set_xticks(ticks, names, rotation=90)
    centre.set_yticks(ticks, names)
    limit = values.max() / 2
    for i, j in np.argwhere(values >= 0.005):
        centre.text(
            j,
            i,
            f'{100 * values[i, j]:.0f}',
            ha='center',
            va='center',
            fontsize=7,
            color='white' if values[i, j] > limit else 'black',
        )


def draw_errors(
    errors: TransportErrors, *, reg: float, num_iters: int
) -> bytes:
    """Draw what Sinkhorn gets wrong over the grid of options.

    Args:
        errors: What was measured.
        reg: The loss's own option, outlined.
        num_iters: The loss's own option, outlined.

    Returns:
        A PNG.
    """
    with picture_style():
        figure = Figure(figsize=(12.5, 5.2), dpi=_DPI, layout='constrained')
        left, right = figure.subplots(1, 2)
        _draw_grid(
            left,
            errors,
            100 * errors.bias,
            np.clip(100 * errors.bias, -100, 100),
            cmap='RdBu_r',
            norm=Normalize(-100, 100),
            text='{:+.0f}',
        )
        left.set_title(
            f'cost against the exact {errors.exact:.4g}, in percent',
            loc='left',
            fontsize=10,
        )
        _draw_grid(
            right,
            errors,
            100 * errors.violations,
            np.clip(100 * errors.violations, 0.01, 100),
            cmap='YlOrBr',
            norm=LogNorm(0.01, 100),
            text='{:.1f}',
        )
        right.set_title(
            "mass that misses the teacher's distribution, in percent",
            loc='left',
            fontsize=10,
        )
        for axes in (left, right):
            _outline(axes, errors, reg, num_iters)
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
    values: np.ndarray,
    colours: np.ndarray,
    *,
    cmap: str,
    norm: Normalize,
    text: str,
) -> None:
    axes.imshow(colours, cmap=cmap, norm=norm, aspect='auto')
    axes.set_xticks(
        range(len(errors.num_iters)), [str(n) for n in errors.num_iters]
    )
    axes.set_yticks(
        range(len(errors.regs)), [f'{reg:g}' for reg in errors.regs]
    )
    axes.set_xlabel('iterations')
    axes.set_ylabel('reg')
    for (i, j), value in np.ndenumerate(values):
        background = norm(colours[i, j])
        dark = (
            abs(background - 0.5) > 0.33
            if cmap == 'RdBu_r'
            else (background > 0.7)
        )
        axes.text(
            j,
            i,
            text.format(value) if np.isfinite(value) else '-',
            ha='center',
            va='center',
            color='white' if dark else 'black',
        )
    for i, j in np.argwhere(~errors.loss_is_accurate):
        axes.plot(
            [j - 0.42, j + 0.42], [i + 0.42, i - 0.42], color=FAINT, lw=0.8
        )


def _outline(
    axes: Axes, errors: TransportErrors, reg: float, num_iters: int
) -> None:
    if reg in errors.regs and num_iters in errors.num_iters:
        corner = (
            errors.num_iters.index(num_iters) - 0.5,
            errors.regs.index(reg) - 0.5,
        )
        axes.add_patch(
            Rectangle(corner, 1, 1, fill=False, edgecolor='black', lw=2.5)
        )
