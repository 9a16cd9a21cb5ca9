"""The figures of a comparison: box AP by row, and over the iterations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mmwkd.costs.plots import to_png
from studies.grid.summary import (
    Estimate,
    RowSummary,
    Summary,
    mean_curve,
)
from studies.grid.theme import LIGHT, Theme, style

_DPI = 160
_DASHES = ('-', '--', ':')


def draw_comparison(summary: Summary, theme: Theme = LIGHT) -> bytes:
    """Draw each seed, each mean and its interval, best row first.

    Args:
        summary: What to draw.
        theme: Colours.

    Returns:
        A PNG: box AP on the left, paired differences on the right.
    """
    rows = summary.rows
    with style(theme):
        height = 1.5 + 0.34 * len(rows)
        figure = Figure(figsize=(11, height), dpi=_DPI, layout='constrained')
        left, right = figure.subplots(1, 2, sharey=True)
        left.set_title(f'box AP on {summary.dataset}')
        right.set_title(f'paired difference to {_baseline(summary)}')
        if summary.teacher_ap is not None:
            left.axvline(
                summary.teacher_ap, color=theme.teacher, linestyle='--'
            )
            # above the axis, where no row is
            left.text(
                summary.teacher_ap,
                1.01,
                'teacher',
                transform=left.get_xaxis_transform(),
                color=theme.faint,
                horizontalalignment='center',
                fontsize=8.5,
            )
        right.axvline(0, color=theme.baseline, linewidth=1.2)
        baseline = next((row.aps for row in rows if row.is_baseline), {})
        for place, row in enumerate(rows):
            colour = theme.baseline if row.is_baseline else theme.distilled
            _draw_estimate(
                left, place, list(row.aps.values()), row.ap, colour, theme
            )
            if row.difference is not None:
                differences = [
                    ap - baseline[seed]
                    for seed, ap in row.aps.items()
                    if seed in baseline
                ]
                _draw_estimate(
                    right, place, differences, row.difference, colour, theme
                )
        left.set_yticks(range(len(rows)), [row.name for row in rows])
        left.tick_params(axis='y', labelcolor=theme.text)
        left.set_ylim(len(rows) - 0.4, -0.6)
        for axis in (left, right):
            axis.set_xlabel('box AP, percent')
            axis.xaxis.set_major_locator(MaxNLocator(8))
        return to_png(figure)


def draw_ap_curves(summary: Summary, theme: Theme = LIGHT) -> bytes:
    """Draw box AP over the iterations, a mean over the seeds for each row.

    Args:
        summary: What to draw.
        theme: Colours.

    Returns:
        A PNG.
    """
    with style(theme):
        figure = Figure(figsize=(11, 5.5), dpi=_DPI, layout='constrained')
        axis = figure.subplots()
        axis.set_title(f'validation box AP on {summary.dataset}')
        axis.set_xlabel('iteration')
        if summary.teacher_ap is not None:
            axis.axhline(
                summary.teacher_ap,
                color=theme.teacher,
                linestyle='--',
                linewidth=1.2,
                label='teacher',
            )
        colours = _colours(summary.rows, theme)
        for row, (colour, dashes) in zip(summary.rows, colours, strict=True):
            curve = mean_curve(row.curves.values())
            axis.plot(
                *np.transpose(curve) if curve else ((), ()),
                color=colour,
                linestyle=dashes,
                marker='o',
                markersize=3.5,
                label=row.name,
            )
        axis.set_xlim(left=0)
        axis.set_ylim(bottom=0)
        axis.xaxis.set_major_locator(
            MaxNLocator(integer=True, steps=[1, 2, 5, 10])
        )
        # in the order of the last values, more or less that of the lines
        figure.legend(loc='outside right upper', handlelength=3.5)
        return to_png(figure)


class Scan(NamedTuple):
    """Box AP over the values of one hyper-parameter."""

    name: str
    aps: Mapping[float, Sequence[float]]  # of each seed, by value
    chosen: float  # the value that the other scans keep


def draw_sensitivity(
    scans: Sequence[Scan], baseline: float, theme: Theme = LIGHT
) -> bytes:
    """Draw box AP over each of several hyper-parameters, side by side.

    Args:
        scans: What to draw.
        baseline: Mean box AP of the student alone, a dashed line.
        theme: Colours.

    Returns:
        A PNG: seeds as dots, means as a line, the chosen value as a diamond.
    """
    with style(theme):
        figure = Figure(
            figsize=(2.6 * len(scans), 3.2), dpi=_DPI, layout='constrained'
        )
        axes = figure.subplots(1, len(scans), sharey=True, squeeze=False)[0]
        axes[0].set_ylabel('box AP, percent')
        for axis, scan in zip(axes, scans, strict=True):
            values = sorted(scan.aps)
            means = [float(np.mean(scan.aps[value])) for value in values]
            axis.set_title(scan.name)
            axis.axhline(baseline, color=theme.baseline, linestyle='--')
            for value in values:
                aps = scan.aps[value]
                axis.scatter(
                    [value] * len(aps),
                    aps,
                    s=12,
                    color=theme.distilled,
                    alpha=0.55,
                    linewidths=0,
                )
            axis.plot(values, means, color=theme.distilled)
            axis.plot(
                scan.chosen,
                float(np.mean(scan.aps[scan.chosen])),
                marker='D',
                color=theme.distilled,
                markeredgecolor=theme.page,
            )
            axis.set_xscale('log')
            axis.set_xticks(values, [f'{value:g}' for value in values])
            axis.minorticks_off()
        return to_png(figure)


def _baseline(summary: Summary) -> str:
    names = (row.name for row in summary.rows if row.is_baseline)
    return next(names, 'the baseline')


def _draw_estimate(
    axis: Axes,
    place: int,
    values: Sequence[float],
    shown: Estimate,
    colour: str,
    theme: Theme,
) -> None:
    # Seeds beside their mean: on it, they would be hidden.
    axis.scatter(
        values,
        [place + 0.22] * len(values),
        s=12,
        color=colour,
        alpha=0.55,
        linewidths=0,
        zorder=2,
    )
    if shown.interval is not None:
        axis.hlines(place, *shown.interval, color=colour, linewidth=1.6)
    axis.plot(
        shown.mean,
        place,
        marker='D',
        markersize=5.5,
        color=colour,
        markeredgecolor=theme.page,
        zorder=3,
    )


def _colours(
    rows: Sequence[RowSummary], theme: Theme
) -> list[tuple[str, str]]:
    """A colour and a dash pattern for each row, all different.

    They go by the names, backwards, so that pictures of the same methods on
    several datasets agree.
    """
    colours = mpl.colormaps['tab10']
    # orange, its second, is the baseline's
    palette = [mpl.colors.to_hex(colours(i)) for i in (0, *range(2, 10))]
    methods = iter(
        (colour, dashes) for dashes in _DASHES for colour in palette
    )
    of_name = {
        row.name: (theme.baseline, '-') if row.is_baseline else next(methods)
        for row in sorted(rows, key=lambda row: row.name, reverse=True)
    }
    return [of_name[row.name] for row in rows]
