"""Pictures of a cost matrix, as PNGs.

Shapes: K categories, background included and last.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from PIL import Image
from scipy.cluster.hierarchy import dendrogram, leaves_list, linkage
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import squareform
from sklearn.manifold import TSNE

from mmwkd.costs.cost_matrix import BACKGROUND, CostMatrix
from mmwkd.costs.quality import distances

TEXT, FAINT, LINE = '#1d2330', '#667085', '#c9cfda'

# Dark and light, warm and cold by turns, so that colour-blind eyes keep most
# of them apart; names stand beside colours in every picture.
_PALETTE = (
    '#0077bb',
    '#ee7733',
    '#117733',
    '#aa4499',
    '#ddcc77',
    '#332288',
    '#88ccee',
    '#882255',
    '#44aa99',
    '#cc6677',
    '#999933',
    '#7a4a1e',
)
_NO_GROUP = '#98a2b3'

_DPI = 120
_MAX_SIDE = 36.0  # inches; beyond it labels are left out
_FONT_SIZE = 8.0  # points
_LABEL_PITCH = 1.35 * _FONT_SIZE / 72  # inches from label to label


class Groups(NamedTuple):
    """Colours of categories."""

    colours: tuple[str, ...]  # one for each category
    legend: Mapping[str, str]  # colour of each supercategory


def group_colours(
    categories: Sequence[str], supercategories: Mapping[str, str] | None
) -> Groups:
    """Give supercategories colours; the background has none of its own.

    Args:
        categories: Categories, background last.
        supercategories: Supercategory of each foreground category; None
            for one colour for all.

    Returns:
        Colours; beyond twelve supercategories they repeat.
    """
    if supercategories is None:
        legend: dict[str, str] = {}
        foreground = [_PALETTE[0]] * (len(categories) - 1)
    else:
        names = [supercategories[name] for name in categories[:-1]]
        legend = {
            name: _PALETTE[index % len(_PALETTE)]
            for index, name in enumerate(dict.fromkeys(names))
        }
        foreground = [legend[name] for name in names]
        legend[BACKGROUND] = _NO_GROUP
    return Groups((*foreground, _NO_GROUP), legend)


def cluster(matrix: CostMatrix) -> np.ndarray:
    """Hierarchical clustering by average distance, leaves in optimal order.

    Args:
        matrix: The matrix.

    Returns:
        SciPy's linkage, of shape (K - 1, 4).
    """
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
    """Draw the cost, categories ordered by hierarchical clustering.

    The scale starts at 0, so that a flat matrix looks flat.

    Args:
        matrix: The matrix.
        supercategories: Supercategory of each foreground category.
        kappa: Sharpness of the cost.

    Returns:
        A PNG.
    """
    size = len(matrix.categories)
    order = leaves_list(cluster(matrix))
    cost = matrix.cost(kappa).numpy()[np.ix_(order, order)]
    groups = group_colours(matrix.categories, supercategories)
    side = float(np.clip(size * _LABEL_PITCH, 4.0, _MAX_SIDE / 2))
    with picture_style():
        figure = Figure(
            figsize=(side + 3.2, side + 2.4), dpi=_DPI, layout='constrained'
        )
        axes = figure.subplots()
        # a strip inside of the axes stays beside the matrix in any layout
        strip = axes.inset_axes((-0.03, 0, 0.025, 1), sharey=axes)
        strip.imshow(
            np.arange(size)[:, None],
            cmap=ListedColormap([groups.colours[i] for i in order]),
            aspect='auto',
            interpolation='nearest',
        )
        image = axes.imshow(
            cost,
            cmap='cividis',
            vmin=0,
            vmax=max(float(cost.max()), 1e-6),
            interpolation='nearest',
        )
        names = [short_name(matrix.categories[i]) for i in order]
        shown = _labelled(size, side)
        strip.set_axis_off()
        axes.set_yticks(shown, [names[i] for i in shown])
        # points; the layout makes the axes a little larger than asked for
        axes.tick_params(axis='y', pad=0.036 * (side + 1.4) * 72)
        axes.set_xticks(shown, [names[i] for i in shown], rotation=90)
        figure.colorbar(
            image, ax=axes, shrink=0.5, label=f'cost at kappa {kappa:g}'
        )
        _add_legend(figure, groups)
        return to_png(figure)


def draw_dendrogram(
    matrix: CostMatrix, supercategories: Mapping[str, str] | None = None
) -> bytes:
    """Draw the tree of categories: where two join, their groups are as far.

    Args:
        matrix: The matrix.
        supercategories: Supercategory of each foreground category.

    Returns:
        A PNG.
    """
    size = len(matrix.categories)
    tree = cluster(matrix)
    groups = group_colours(matrix.categories, supercategories)
    height = min(max(size * 1.15 * _LABEL_PITCH, 1.5), _MAX_SIDE)
    with picture_style():
        figure = Figure(
            figsize=(9, height + 1.4), dpi=_DPI, layout='constrained'
        )
        axes = figure.subplots()
        drawn = dendrogram(
            tree,
            orientation='left',
            ax=axes,
            color_threshold=0,
            above_threshold_color=FAINT,
            no_labels=True,
        )
        leaves = drawn['leaves']
        shown = _labelled(size, height)
        # SciPy puts leaf i at 10 i + 5
        axes.set_yticks(
            [10 * i + 5 for i in shown],
            [
                _with_group(matrix.categories[leaves[i]], supercategories)
                for i in shown
            ],
        )
        axes.yaxis.tick_right()
        axes.tick_params(axis='y', pad=16)
        for i, leaf in enumerate(leaves):
            axes.add_patch(
                Rectangle(
                    (1.005, i / size),
                    0.018,
                    1 / size,
                    transform=axes.transAxes,
                    clip_on=False,
                    color=groups.colours[leaf],
                    linewidth=0,
                )
            )
        axes.set_xlim(left=1.05 * max(float(tree[:, 2].max()), 1e-6), right=0)
        axes.set_xlabel('average distance 1 - IR at which groups join')
        axes.spines[['left', 'right', 'top']].set_visible(False)
        return to_png(figure)


def draw_map(
    matrix: CostMatrix,
    supercategories: Mapping[str, str] | None = None,
    thumbnails: Mapping[str, Image.Image] | None = None,
) -> bytes:
    """Draw the foreground categories in a plane, near ones beside each other.

    The positions of a t-SNE embedding of the distances are moved to the
    cells of a grid, each to its own and all together as little as possible:
    no two overlap, and what is lost are distances, of which t-SNE keeps only
    the small ones anyway.

    Args:
        matrix: The matrix.
        supercategories: Supercategory of each foreground category.
        thumbnails: Picture of categories; a category without one is a dot.

    Returns:
        A PNG.
    """
    thumbnails = thumbnails or {}
    names = matrix.categories[:-1]
    groups = group_colours(matrix.categories, supercategories)
    cells, num_cols, num_rows = _grid_cells(embed(distances(matrix)[:-1, :-1]))
    pitch = min(1.0, _MAX_SIDE * 2 / 3 / max(num_cols, num_rows))  # inches
    with picture_style():
        figure = Figure(
            figsize=(num_cols * pitch + 0.2, num_rows * pitch + 1.0),
            dpi=_DPI,
            layout='constrained',
        )
        axes = figure.subplots()
        for name, colour, (x, y) in zip(
            names, groups.colours, cells, strict=False
        ):
            if name in thumbnails:
                _draw_thumbnail(axes, thumbnails[name], colour, (x, y))
            else:
                axes.scatter(x, y, s=(14 * pitch) ** 2, color=colour)
            if pitch > 0.6:
                axes.text(
                    x,
                    y - 0.36,
                    short_name(name, int(14 * pitch)),
                    ha='center',
                    va='top',
                    fontsize=7,
                )
        axes.set_xlim(-0.5, num_cols - 0.5)
        axes.set_ylim(-0.55, num_rows - 0.5)
        axes.set_aspect('equal')
        axes.set_axis_off()
        _add_legend(figure, groups, skip=BACKGROUND)
        return to_png(figure)


def embed(gaps: np.ndarray) -> np.ndarray:
    """Place points in a plane so that near ones are neighbours (t-SNE).

    Args:
        gaps: Distances, of shape (n, n).

    Returns:
        Positions in the unit square, of shape (n, 2).
    """
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


def _draw_thumbnail(
    axes: Axes, image: Image.Image, colour: str, centre: tuple[float, float]
) -> None:
    x, y = centre
    half = 0.33
    axes.imshow(
        np.asarray(image), extent=(x - half, x + half, y - half, y + half)
    )
    axes.add_patch(
        Rectangle(
            (x - half, y - half),
            2 * half,
            2 * half,
            fill=False,
            edgecolor=colour,
            linewidth=2.5,
        )
    )


def _labelled(count: int, length: float) -> list[int]:
    """Every n-th of some items along a side of so many inches."""
    step = max(1, math.ceil(count * _LABEL_PITCH / length - 1e-6))
    return list(range(0, count, step))


def short_name(name: str, limit: int = 24) -> str:
    """A name that fits, with nothing that Matplotlib would take as TeX."""
    if len(name) > limit:
        name = f'{name[: limit - 1]}\N{HORIZONTAL ELLIPSIS}'
    return name.replace('$', r'\$')


def _with_group(name: str, supercategories: Mapping[str, str] | None) -> str:
    group = (supercategories or {}).get(name)
    if group is None:
        return short_name(name)
    return f'{short_name(name)} ({short_name(group, 16)})'


def _add_legend(figure: Figure, groups: Groups, skip: str = '') -> None:
    entries = [
        Patch(color=colour, label=short_name(name))
        for name, colour in groups.legend.items()
        if name != skip
    ]
    if entries:
        columns = max(1, int((figure.get_figwidth() - 0.5) / 1.5))
        figure.legend(
            handles=entries, loc='outside lower center', ncols=columns
        )


def to_png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png')
    return buffer.getvalue()


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
        }
    ):
        yield
