"""The summary as Markdown and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmwkd.files import atomic_write
from studies.grid.figures import draw_ap_curves, draw_comparison
from studies.grid.page import data_url, template
from studies.grid.summary import CONFIDENCE, Estimate, Summary
from studies.grid.theme import DARK

_HEADER = (
    'row',
    'box AP',
    'std',
    'seeds',
    'difference',
    f'{100 * CONFIDENCE:.0f} % interval',
    'gap closed',
    'iterations to the baseline',
    'minutes',
    'time ratio',
)
NONE = '\N{EN DASH}'


class Outputs(NamedTuple):
    """The files of a summary."""

    page: Path
    markdown: Path
    comparison: Path
    curves: Path


def write_summary(summary: Summary, folder: Path) -> Outputs:
    """Write a summary, instead of an older one.

    Args:
        summary: What to write.
        folder: Where; it is made if needed.

    Returns:
        The files.
    """
    outputs = Outputs(
        page=folder / 'summary.html',
        markdown=folder / 'summary.md',
        comparison=folder / 'comparison.png',
        curves=folder / 'ap_curves.png',
    )
    comparison, curves = draw_comparison(summary), draw_ap_curves(summary)
    page = template('studies.grid', 'summary.html.j2').render(
        summary=summary,
        lines=table_lines(summary),
        comparison=data_url('png', comparison),
        comparison_dark=data_url('png', draw_comparison(summary, DARK)),
        curves=data_url('png', curves),
        curves_dark=data_url('png', draw_ap_curves(summary, DARK)),
        notes=notes(summary),
    )
    contents = (page.encode(), to_markdown(summary).encode())
    for file, content in zip(
        outputs, (*contents, comparison, curves), strict=True
    ):
        with atomic_write(file, force=True) as opened:
            opened.write(content)
    return outputs


def table_lines(summary: Summary) -> list[tuple[str, ...]]:
    """The table as text: a header, the teacher, and the rows."""
    lines: list[tuple[str, ...]] = [_HEADER]
    if summary.teacher_ap is not None:
        blank = [NONE] * (len(_HEADER) - 2)
        lines.append(('teacher', f'{summary.teacher_ap:.1f}', *blank))
    for row in summary.rows:
        lines.append(
            (
                f'{row.name} (baseline)' if row.is_baseline else row.name,
                f'{row.ap.mean:.1f}',
                NONE if row.std is None else f'{row.std:.1f}',
                f'{len(row.aps)}',
                *difference_cells(row.difference),
                NONE
                if row.gap_closed is None
                else f'{100 * row.gap_closed:.0f} %',
                NONE if row.caught_up is None else f'{row.caught_up:.0f}',
                f'{row.train_seconds / 60:.1f}',
                NONE if row.time_ratio is None else f'{row.time_ratio:.2f}',
            )
        )
    return lines


def notes(summary: Summary) -> list[str]:
    """How to read the numbers."""
    lines = [
        "Box AP is COCO's, in percent, of the last validation.",
        'Differences are to the baseline with the same seed; an interval is '
        "that of Student's t over the seeds, one row at a time: of many "
        'rows, some intervals miss by chance.',
        'Iterations to the baseline: where the mean curve comes to the '
        "baseline's last AP, between validations on a straight line.",
        'Minutes are of training with its validations; a time ratio is to '
        'the baseline.',
        *summary.notes,
    ]
    if summary.superseded:
        lines.append(
            f'{summary.superseded} records of earlier configs were left out.'
        )
    return lines


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """A table as Markdown, with numbers in all columns but the first.

    Args:
        lines: The header and the rows, of equal length.
    """
    header, *rows = lines
    rule = ['---', *['---:'] * (len(header) - 1)]
    return '\n'.join(
        f'| {" | ".join(line)} |' for line in (header, rule, *rows)
    )


def to_markdown(summary: Summary) -> str:
    """The summary as Markdown."""
    table = markdown_table(table_lines(summary))
    listed = '\n'.join(f'- {note}' for note in notes(summary))
    return (
        f'# Comparison on {summary.dataset}\n\n{table}\n\n{listed}\n\n'
        '![Box AP of each seed, means and intervals](comparison.png)\n\n'
        '![Validation box AP over the iterations](ap_curves.png)\n'
    )


def difference_cells(difference: Estimate | None) -> tuple[str, str]:
    """A difference and its interval as text."""
    if difference is None:
        return NONE, NONE
    if difference.interval is None:
        return f'{difference.mean:+.1f}', NONE
    low, high = difference.interval
    return f'{difference.mean:+.1f}', f'{low:+.1f} to {high:+.1f}'
