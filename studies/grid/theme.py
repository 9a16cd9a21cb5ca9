"""How pictures look: the colours of a page, and matplotlib's settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib as mpl


class Theme(NamedTuple):
    """Colours of a page."""

    page: str
    text: str
    faint: str
    grid: str
    teacher: str
    baseline: str
    distilled: str
    others: tuple[str, ...]  # further lines


LIGHT = Theme(
    page='#ffffff',
    text='#1d2330',
    faint='#667085',
    grid='#e6e9ef',
    teacher='#8a93a5',
    baseline='#e08a00',
    distilled='#1769e0',
    others=('#7a4fd0', '#0f9d7a', '#d0447c', '#8d6e00'),
)
DARK = Theme(
    page='#171b23',
    text='#e8ebf1',
    faint='#98a2b3',
    grid='#2a303c',
    teacher='#98a2b3',
    baseline='#ffb02e',
    distilled='#5aa9ff',
    others=('#b69cff', '#43d3ab', '#ff8ab5', '#e3c341'),
)


@contextmanager
def style(theme: Theme) -> Iterator[None]:
    """Draw in the colours of a theme inside the context."""
    settings: dict[str, Any] = {
        'figure.facecolor': theme.page,
        'savefig.facecolor': theme.page,
        'axes.facecolor': theme.page,
        'axes.edgecolor': theme.grid,
        'axes.labelcolor': theme.faint,
        'axes.titlecolor': theme.text,
        'axes.titlesize': 10.5,
        'axes.titleweight': 'bold',
        'axes.titlelocation': 'left',
        'axes.titlepad': 10,
        'axes.labelsize': 9,
        'axes.spines.top': False,
        'axes.spines.right': False,
        'axes.grid': True,
        'axes.axisbelow': True,
        'grid.color': theme.grid,
        'grid.linewidth': 0.8,
        'xtick.color': theme.faint,
        'ytick.color': theme.faint,
        'xtick.labelsize': 8.5,
        'ytick.labelsize': 8.5,
        'xtick.major.size': 0,
        'ytick.major.size': 0,
        'lines.linewidth': 1.8,
        'legend.frameon': False,
        'legend.fontsize': 8.5,
        'legend.labelcolor': theme.text,
        'font.family': 'sans-serif',
    }
    with mpl.rc_context(settings):
        yield
