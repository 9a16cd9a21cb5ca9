"""Say how good a cost matrix is: a table, pictures and an HTML report."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mmwkd.costs.annotations import (
    CategoryAnnotations,
    cut_thumbnails,
    read_annotations,
)
from mmwkd.costs.cost_matrix import CostMatrix
from mmwkd.costs.plots import draw_heatmap, draw_map
from mmwkd.costs.quality import (
    Neighbour,
    dispersion,
    nearest_categories,
    supercategory_auc,
)
from mmwkd.extras import needs_extra
from mmwkd.files import atomic_write, check_writable
from mmwkd.functional.checks import check_positive

with needs_extra('cost'):
    from jinja2 import Environment, PackageLoader, StrictUndefined

# the page last: where it is, the report is whole
REPORT = ('heatmap.png', 'map.png', 'report.html')
_NEIGHBOURS_SHOWN = 100  # categories in the terminal; the report has all


class Figure(NamedTuple):
    """A number of the report and how to read it."""

    name: str
    value: str
    reading: str


def inspect_cost_matrix(
    file: Path,
    out_dir: Path,
    *,
    ann_file: Path | None = None,
    img_prefix: Path | None = None,
    kappa: float = 2.0,
    force: bool = False,
) -> Path:
    """Print how good a cost matrix is, and write the report.

    Arguments are those of :func:`mmwkd.commands.cost_inspect`.

    Returns:
        Path of the report.
    """
    check_positive(kappa=kappa)
    for name in REPORT:
        check_writable(out_dir / name, force=force)
    matrix = CostMatrix.load(file)
    known = CategoryAnnotations(None, {})
    if ann_file is not None:
        known = read_annotations(ann_file, matrix.categories[:-1])
    figures = quality_figures(matrix, known.supercategories)
    neighbours = nearest_categories(matrix)
    print(f'{file}, estimator {matrix.estimator}')
    for figure in figures:
        print(f'{figure.name}: {figure.value}\n    {figure.reading}')
    print('nearest categories, with their distance 1 - IR')
    for name, near in list(neighbours.items())[:_NEIGHBOURS_SHOWN]:
        found = (f'{n.category} {n.distance:.3f}' for n in near)
        print(f'    {name}: {", ".join(found) or "none"}')
    thumbnails = cut_thumbnails(known.crops, img_prefix) if img_prefix else {}
    families = known.supercategories
    heatmap = draw_heatmap(matrix, families, kappa=kappa)
    pictures = [heatmap, draw_map(matrix, families, thumbnails)]
    page = render_report(
        matrix, figures, neighbours, pictures=pictures, kappa=kappa
    )
    for name, content in zip(REPORT, [*pictures, page.encode()], strict=True):
        with atomic_write(out_dir / name, force=force) as opened:
            opened.write(content)
    print(f'report: {out_dir / REPORT[-1]}')
    return out_dir / REPORT[-1]


def render_report(
    matrix: CostMatrix,
    figures: Sequence[Figure],
    neighbours: Mapping[str, Sequence[Neighbour]],
    *,
    pictures: Sequence[bytes],
    kappa: float,
) -> str:
    """Render an HTML page that refers to nothing outside itself.

    Args:
        matrix: The matrix.
        figures: From :func:`quality_figures`.
        neighbours: Nearest categories of each.
        pictures: PNGs of the heatmap and of the map.
        kappa: Sharpness of the cost in the heatmap.

    Returns:
        The page.
    """
    environment = Environment(
        loader=PackageLoader('mmwkd.costs', '.'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template('report.html.j2').render(
        matrix=matrix,
        figures=figures,
        neighbours=neighbours,
        kappa=kappa,
        pictures=[
            'data:image/png;base64,' + base64.b64encode(content).decode()
            for content in pictures
        ],
    )


def quality_figures(
    matrix: CostMatrix, supercategories: Mapping[str, str] | None = None
) -> tuple[Figure, ...]:
    """The figures of a matrix as text, for a terminal and for the page."""
    spread = dispersion(matrix)
    auc = supercategory_auc(matrix, supercategories)
    return (
        Figure(
            'distance 1 - IR',
            f'{spread.mean:.3f} ± {spread.std:.3f}, '
            f'{spread.minimum:.3f} to {spread.maximum:.3f}',
            'mean, standard deviation and range off the diagonal',
        ),
        Figure(
            'variation',
            f'{spread.variation:.3f}',
            'standard deviation / mean; near 0 every mistake costs the same',
        ),
        Figure(
            'supercategory AUC',
            'needs supercategories with and without company (--ann-file)'
            if auc is None
            else f'{auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}]',
            'chance that a pair of one supercategory is cheaper than a mixed '
            'one; 0.5 is a coin. Bootstrap over categories, 95 %',
        ),
    )
