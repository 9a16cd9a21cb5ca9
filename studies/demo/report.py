"""The report: one HTML file with everything in it, to open, keep or send."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from studies.demo.pictures import SCORE_THRESHOLD
from studies.demo.results import TITLES, Results, table_rows, verdict
from studies.grid.page import data_url, template


class Pictures(NamedTuple):
    """The pictures of a report, as PNGs."""

    curves: bytes  # for a light page
    curves_dark: bytes
    detections: bytes


def render_report(
    results: Results, pictures: Pictures, distilled: Path
) -> str:
    """Render the report.

    Args:
        results: The numbers.
        pictures: The pictures.
        distilled: The distillation config, to be shown.

    Returns:
        An HTML page that refers to nothing outside itself.
    """
    header, *rows = table_rows(results)
    detections = Image.open(io.BytesIO(pictures.detections))
    return template('studies.demo', 'report.html.j2').render(
        results=results,
        verdict=verdict(results),
        # Bars from 0: their lengths compare as the numbers do.
        longest=max(model.accuracy.ap for model in results.models) or 1.0,
        roles=list(TITLES),
        header=header,
        rows=list(zip(results.models, rows, strict=True)),
        curves=data_url('png', pictures.curves),
        curves_dark=data_url('png', pictures.curves_dark),
        detections=data_url('webp', _webp(detections)),
        detections_size=detections.size,
        score_threshold=SCORE_THRESHOLD,
        distilled_config=distilled.name,
        distilled_text=distilled.read_text(encoding='utf-8').strip(),
    )


def _webp(image: Image.Image) -> bytes:
    """A tenth of the PNG's size, so that the page stays easy to send."""
    buffer = io.BytesIO()
    image.save(buffer, format='WEBP', quality=88, method=4)
    return buffer.getvalue()
