"""The report on a cost matrix: one HTML file, and its pictures beside it."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from mmwkd.costs.cost_matrix import CostMatrix
from mmwkd.costs.plots import draw_heatmap, draw_map
from mmwkd.costs.quality import Quality
from mmwkd.extras import needs_extra
from mmwkd.files import atomic_write, check_writable

with needs_extra('cost'):
    from jinja2 import Environment, PackageLoader, StrictUndefined

REPORT = 'report.html'
PICTURES = ('heatmap.png', 'map.png')


class Figure(NamedTuple):
    """A number of the report and how to read it."""

    name: str
    value: str
    reading: str


def check_report(folder: Path, *, force: bool = False) -> None:
    """Find out before the work whether a report can be written to a folder."""
    for name in (REPORT, *PICTURES):
        check_writable(folder / name, force=force)


def write_report(
    folder: str | os.PathLike[str],
    matrix: CostMatrix,
    quality: Quality,
    *,
    supercategories: Mapping[str, str] | None = None,
    thumbnails: Mapping[str, Image.Image] | None = None,
    kappa: float = 2.0,
    force: bool = False,
) -> Path:
    """Draw the pictures and write the report; other files are left alone.

    Args:
        folder: Folder to write to; made if needed.
        matrix: The matrix.
        quality: Its figures.
        supercategories: Supercategory of each foreground category.
        thumbnails: Picture of categories.
        kappa: Sharpness of the cost that is drawn.
        force: Whether an earlier report may be replaced.

    Returns:
        Path of the HTML file.

    Raises:
        FileExistsError: If there is a report and ``force`` is not set.
    """
    folder = Path(folder)
    check_report(folder, force=force)
    pictures = {
        'heatmap.png': draw_heatmap(matrix, supercategories, kappa=kappa),
        'map.png': draw_map(matrix, supercategories, thumbnails),
    }
    page = render_report(matrix, quality, pictures=pictures, kappa=kappa)
    for name, content in pictures.items():
        with atomic_write(folder / name, force=force) as file:
            file.write(content)
    # the page last: where it is, the report is whole
    with atomic_write(folder / REPORT, force=force) as file:
        file.write(page.encode())
    return folder / REPORT


def render_report(
    matrix: CostMatrix,
    quality: Quality,
    *,
    pictures: Mapping[str, bytes],
    kappa: float,
) -> str:
    """Render the page.

    Args:
        matrix: The matrix.
        quality: Its figures.
        pictures: PNGs by the names of ``PICTURES``.
        kappa: Sharpness of the cost in the heatmap.

    Returns:
        An HTML page that refers to nothing outside itself.
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
        quality=quality,
        figures=quality_figures(matrix, quality),
        kappa=kappa,
        pictures={
            name.removesuffix('.png'): 'data:image/png;base64,'
            + base64.b64encode(content).decode()
            for name, content in pictures.items()
        },
    )


def quality_figures(
    matrix: CostMatrix, quality: Quality
) -> tuple[Figure, ...]:
    """The figures of a matrix as text, for a terminal and for the page."""
    spread = quality.dispersion
    auc = quality.supercategory_auc
    size = len(matrix.categories)
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
            'explained by rows',
            f'{100 * spread.row_share:.0f} %',
            'of the variance by one number for each category; near 100 % '
            'nothing is said of pairs',
        ),
        Figure(
            'effective rank',
            f'{quality.effective_rank:.1f} of {size}',
            'near 1 all categories are alike, near K all are unrelated',
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
