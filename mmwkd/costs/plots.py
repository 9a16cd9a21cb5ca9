"""Pictures of a cost matrix and of its transport, as PNGs.

Shapes: K categories, background included and last; R RoIs; E values of reg,
I numbers of iterations.
"""

import io
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from mmwkd.costs.cost_matrix import CostMatrix
from mmwkd.costs.inspection import distances
from mmwkd.extras import needs_extra
from mmwkd.files import atomic_write

with needs_extra('cost'):
    import matplotlib as mpl
    import pandas as pd
    import seaborn as sns
    from matplotlib import pyplot as plt
    from matplotlib.axes import Axes
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch, Rectangle
    from scipy.cluster.hierarchy import linkage
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import squareform
    from sklearn.manifold import TSNE

TEXT, FAINT, LINE = '#1d2330', '#667085', '#c9cfda'

# Dark and light, warm and cold by turns, so that colour-blind eyes keep most
# of them apart; names stand beside colours in every picture.
_PALETTE = (
    *('#0077bb', '#ee7733', '#117733', '#aa4499', '#ddcc77', '#332288'),
    *('#88ccee', '#882255', '#44aa99', '#cc6677', '#999933', '#7a4a1e'),
)
_NO_GROUP = '#98a2b3'

_DPI = 120
_MAX_SIDE = 36.0  # inches; beyond it names are left out
_FONT_SIZE = 8.0  # points
_LABEL_PITCH = 1.35 * _FONT_SIZE / 72  # inches from label to label

_MIN_MASS = 0.01  # of a category that is shown in a plan
_MAX_SHOWN = 10


def group_colours(
    categories: Sequence[str], supercategories: Mapping[str, str] | None
) -> tuple[list[str], dict[str, str]]:
    """Colour of each category, background last, and of each supercategory.

    Beyond twelve they repeat; without supercategories there is one for all.
    """
    if supercategories is None:
        return [_PALETTE[0]] * (len(categories) - 1) + [_NO_GROUP], {}
    names = [supercategories[name] for name in categories[:-1]]
    legend = {
        name: _PALETTE[index % len(_PALETTE)]
        for index, name in enumerate(dict.fromkeys(names))
    }
    return [*(legend[name] for name in names), _NO_GROUP], legend


def cluster(matrix: CostMatrix) -> np.ndarray:
    """Clustering by average distance: SciPy's linkage, (K - 1, 4)."""
    return linkage(
        squareform(distances(matrix), checks=False),
        method='average',
        optimal_ordering=True,
    )


def draw_heatmap(
    matrix: CostMatrix,
    supercategories: Mapping[str, str] | None = None,
    *,
    kappa: float = 2.0,
) -> bytes:
    """Draw the cost beside the tree by which its categories are ordered.

    The scale starts at 0, so that a flat matrix looks flat.
    """
    size = len(matrix.categories)
    tree = cluster(matrix)
    names = [short_name(name) for name in matrix.categories]
    cost = pd.DataFrame(matrix.cost(kappa).numpy(), names, names)
    colours, legend = group_colours(matrix.categories, supercategories)
    side = float(np.clip(size * _LABEL_PITCH, 4.0, _MAX_SIDE / 2))  # inches
    # every n-th name where there is no room for all
    step = max(1, math.ceil(size * _LABEL_PITCH / side - 1e-6))
    with picture_style(), _deep_recursion(size):
        grid = sns.clustermap(
            cost,
            row_linkage=tree,
            col_linkage=tree,
            row_colors=colours,
            figsize=(side + 2, side + 1),
            dendrogram_ratio=(1.6 / (side + 2), 1 / (side + 1)),
            colors_ratio=0.16 / (side + 2),
            cbar_pos=(0.02, 1 - 0.3 / (side + 1), 1.2 / (side + 2), 0.02),
            cbar_kws=dict(
                orientation='horizontal', label=f'cost at kappa {kappa:g}'
            ),
            cmap='cividis',
            vmin=0,
            vmax=max(float(cost.max(axis=None)), 1e-6),
            xticklabels=step,
            yticklabels=step,
        )
        grid.ax_col_dendrogram.clear()
        grid.ax_col_dendrogram.set_axis_off()
        if legend:
            grid.ax_col_dendrogram.legend(
                handles=_handles(legend),
                loc='lower left',
                ncols=max(1, int(side / 1.5)),
            )
        return to_png(grid.figure)


@contextmanager
def _deep_recursion(depth: int) -> Iterator[None]:
    """SciPy draws a tree by a function that calls itself at each level."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 2 * depth)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def draw_map(
    matrix: CostMatrix, supercategories: Mapping[str, str] | None = None
) -> bytes:
    """Draw the foreground categories in a plane, near ones beside each other.

    The positions of a t-SNE embedding of the distances are moved to the
    cells of a grid, each to its own and all together as little as possible:
    no two overlap, and what is lost are distances, of which t-SNE keeps only
    the small ones anyway.
    """
    names = matrix.categories[:-1]
    colours, legend = group_colours(matrix.categories, supercategories)
    cells, num_cols, num_rows = _grid_cells(embed(distances(matrix)[:-1, :-1]))
    pitch = min(1.0, _MAX_SIDE * 2 / 3 / max(num_cols, num_rows))  # inches
    with picture_style():
        figure = Figure(
            figsize=(num_cols * pitch + 0.2, num_rows * pitch + 1.0),
            layout='constrained',
        )
        axes = figure.subplots()
        x, y = cells.T
        axes.scatter(x, y, s=(14 * pitch) ** 2, c=colours[:-1])
        if pitch > 0.6:
            for name, x, y in zip(names, *cells.T, strict=True):
                label = short_name(name, int(14 * pitch))
                axes.text(x, y - 0.2, label, ha='center', va='top', fontsize=7)
        axes.set_xlim(-0.5, num_cols - 0.5)
        axes.set_ylim(-0.55, num_rows - 0.5)
        axes.set_axis_off()
        if legend:
            figure.legend(
                handles=_handles(legend),
                loc='outside lower center',
                ncols=max(1, int(figure.get_figwidth() / 1.5)),
            )
        return to_png(figure)


def embed(gaps: np.ndarray) -> np.ndarray:
    """Positions in the unit square (n, 2) by t-SNE of distances (n, n)."""
    count = len(gaps)
    if count < 4:  # t-SNE has nothing to choose
        points = np.stack([np.arange(count), np.zeros(count)], axis=1)
    else:
        points = TSNE(
            metric='precomputed',
            init='random',
            perplexity=min(10.0, (count - 1) / 3),
            random_state=0,
        ).fit_transform(gaps)
    span = np.ptp(points, axis=0)
    return (points - points.min(axis=0)) / np.where(span > 0, span, 1)


def _grid_cells(points: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Cell of each point, of shape (n, 2), and columns and rows of the grid.

    A grid has half as many cells again as points, so that groups stay apart.
    """
    num_cols = math.ceil(math.sqrt(1.5 * len(points) * 1.3))  # landscape
    num_rows = math.ceil(1.5 * len(points) / num_cols)
    cells = np.stack(
        np.meshgrid(np.arange(num_cols), np.arange(num_rows)), axis=-1
    ).reshape(-1, 2)
    wanted = points * (num_cols - 1, num_rows - 1)
    moves = np.square(wanted[:, None] - cells).sum(axis=-1)
    _, chosen = linear_sum_assignment(moves)
    return cells[chosen], num_cols, num_rows


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
    RoI shows the categories with the most mass. Distributions are (R, K),
    plans (R, K, K).
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


def short_name(name: str, limit: int = 24) -> str:
    """A name that fits, with nothing that Matplotlib would take as TeX."""
    if len(name) > limit:
        name = f'{name[: limit - 1]}\N{HORIZONTAL ELLIPSIS}'
    return name.replace('$', r'\$')


def _handles(legend: Mapping[str, str]) -> list[Patch]:
    return [
        Patch(color=colour, label=short_name(name))
        for name, colour in legend.items()
    ]


def to_png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG; pyplot forgets it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png')
    plt.close(figure)
    return buffer.getvalue()


def write_pictures(pictures: Mapping[Path, bytes], *, force: bool) -> None:
    """Write PNGs, and print where they are."""
    for path, picture in pictures.items():
        with atomic_write(path, force=force) as file:
            file.write(picture)
        print(path)


@contextmanager
def picture_style() -> Iterator[None]:
    """The look of all pictures."""
    with mpl.rc_context(
        {
            'axes.edgecolor': LINE,
            'axes.labelcolor': FAINT,
            'axes.labelsize': 9,
            'xtick.labelsize': _FONT_SIZE,
            'ytick.labelsize': _FONT_SIZE,
            'xtick.color': TEXT,
            'ytick.color': TEXT,
            'xtick.major.size': 0,
            'ytick.major.size': 0,
            'text.color': TEXT,
            'legend.frameon': False,
            'legend.fontsize': _FONT_SIZE,
            'font.family': 'sans-serif',
            'savefig.dpi': _DPI,
            'savefig.bbox': 'tight',
        }
    ):
        yield
