"""The report: one HTML file with everything in it, to open, keep or send."""

from __future__ import annotations

import io
from typing import NamedTuple

from PIL import Image

from studies.demo.detections import SCORE_THRESHOLD
from studies.demo.recipes import DISTILLED, RECIPES
from studies.demo.results import Results, table_rows, verdict
from studies.grid.page import data_url, template


class Pictures(NamedTuple):
    """The pictures of a report."""

    curves: bytes  # PNG for a light page
    curves_dark: bytes  # PNG for a dark page
    detections: Image.Image


class Snippet(NamedTuple):
    """A config file to show."""

    name: str
    text: str


def render_report(
    results: Results,
    pictures: Pictures,
    *,
    shipped: Snippet,
    derived: list[Snippet],
) -> str:
    """Render the report.

    Args:
        results: The numbers.
        pictures: The pictures.
        shipped: The distillation config of the repository.
        derived: The configs that this demo has trained with.

    Returns:
        An HTML page that refers to nothing outside itself.
    """
    header, *rows = table_rows(results)
    return template('studies.demo', 'report.html.j2').render(
        results=results,
        verdict=verdict(results),
        # Bars from 0: their lengths compare as the numbers do.
        longest=max(model.accuracy.ap for model in results.models) or 1.0,
        roles=[recipe.role for recipe in RECIPES],
        header=header,
        rows=list(zip(results.models, rows, strict=True)),
        curves=data_url('png', pictures.curves),
        curves_dark=data_url('png', pictures.curves_dark),
        detections=data_url('webp', _webp(pictures.detections)),
        detections_size=pictures.detections.size,
        score_threshold=SCORE_THRESHOLD,
        distilled_config=DISTILLED.config,
        shipped=shipped,
        derived=derived,
    )


def _webp(image: Image.Image) -> bytes:
    """A tenth of the PNG's size, so that the page stays easy to send."""
    buffer = io.BytesIO()
    image.save(buffer, format='WEBP', quality=88, method=4)
    return buffer.getvalue()
