"""The learning curves: accuracy and losses over the iterations."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from studies.grid.scalars import History, loss_terms
from studies.grid.theme import LIGHT, Theme, style

CURVES_SIZE = (1920, 640)  # pixels
_DPI = 160


class Curves(NamedTuple):
    """The three trainings."""

    teacher: History
    baseline: History
    distilled: History


def draw_curves(
    curves: Curves, titles: Mapping[str, str], theme: Theme = LIGHT
) -> bytes:
    """Draw accuracy, the student's own loss, and what distillation adds.

    Args:
        curves: What was logged.
        titles: Legend entries, by field of ``curves``.
        theme: Colours.

    Returns:
        A PNG of ``CURVES_SIZE``.
    """
    with style(theme):
        width, height = (side / _DPI for side in CURVES_SIZE)
        figure = Figure(figsize=(width, height), dpi=_DPI)
        axes = figure.subplots(1, 3)
        _draw_accuracy(axes[0], curves, titles, theme)
        _draw_own_loss(axes[1], curves, titles, theme)
        _draw_distillation(axes[2], curves, theme)
        for axis in axes:
            axis.set_xlabel('iteration')
            axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axis.set_xlim(left=0)
            axis.set_ylim(0, 1.05 * axis.get_ylim()[1])
            if axis.lines:
                axis.legend(loc='best')
        figure.tight_layout(w_pad=2.5)
        buffer = io.BytesIO()
        figure.savefig(buffer, format='png')
    return buffer.getvalue()


def _draw_accuracy(
    axis: Axes, curves: Curves, titles: Mapping[str, str], theme: Theme
) -> None:
    axis.set_title('validation box AP')
    for role, history in curves._asdict().items():
        points = history.validations
        axis.plot(
            [point.iteration for point in points],
            [point.accuracy.ap for point in points],
            marker='o',
            markersize=4,
            color=getattr(theme, role),
            label=titles[role],
        )


def _draw_own_loss(
    axis: Axes, curves: Curves, titles: Mapping[str, str], theme: Theme
) -> None:
    axis.set_title("the student's own detection loss")
    names = loss_terms(curves.baseline.train)
    for role in ('baseline', 'distilled'):
        points = getattr(curves, role).train
        axis.plot(
            [point.iteration for point in points],
            [
                sum(point.terms.get(name, 0.0) for name in names)
                for point in points
            ],
            color=getattr(theme, role),
            label=titles[role],
        )


def _draw_distillation(axis: Axes, curves: Curves, theme: Theme) -> None:
    axis.set_title('distillation terms, weighted')
    points = curves.distilled.train
    own = loss_terms(curves.baseline.train)
    names = [name for name in loss_terms(points) if name not in own]
    colours = (theme.distilled, *theme.others)
    for index, name in enumerate(names):
        axis.plot(
            [point.iteration for point in points],
            [point.terms[name] for point in points],
            color=colours[index % len(colours)],
            label=name,
        )
