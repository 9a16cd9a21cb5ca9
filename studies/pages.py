"""Write the tables and pictures of the results from the table of runs.

What stands between <!-- table NAME --> and <!-- end --> in a page is replaced;
the text around it is written by hand. With --check nothing is written, and the
exit status is 1 if a page has other numbers than the table of runs.
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # studies/

from mmwkd.files import atomic_write
from mmwkd.losses import WKDLogitLoss
from studies.grid.figures import (
    Scan,
    draw_ap_curves,
    draw_comparison,
    draw_sensitivity,
)
from studies.grid.report import (
    NONE,
    difference_cells,
    markdown_table,
    table_lines,
)
from studies.grid.summary import Estimate, RowSummary, Summary, summarise
from studies.grid.table import read_table

REPO = Path(__file__).resolve().parents[1]
GRIDS = REPO / 'studies' / 'grids'
RUNS = REPO / 'studies' / 'results' / 'runs.csv'
IMAGES = REPO / 'docs' / 'images'
PAGES = (
    REPO / 'docs' / 'results.md',
    REPO / 'docs' / 'results_drawn.md',
    REPO / 'README.md',
)

TUNING = 'minicoco, tuning split'
MAIN = ('student', 'kd', 'dkd', 'pkd', 'wkd-l', 'wkd-f', 'wkd-f-roi', 'wkd-lf')
HEADLINE = (
    *('student', 'kd', 'dkd', 'wkd-l'),
    *('pkd', 'cwd', 'fitnet', 'wkd-f'),
    *('pkd-roi', 'cwd-roi', 'fitnet-roi'),
    *('wkd-f-roi', 'wkd-lf'),
    *('pkd-roi-fast', 'cwd-roi-fast', 'fitnet-roi-fast', 'wkd-lf-fast'),
)
RIVALS = (
    *('kd-pkd-roi', 'pkd-roi', 'fitnet-roi', 'cwd-roi', 'ickd-roi', 'emd-roi'),
    *('nkd', 'fitnet', 'cwd', 'ickd'),
)
NEAREST = ('cwd-roi', 'fitnet-roi', 'pkd-roi')
# distil for half of the schedule; without '-fast', for all of it
FAST = ('wkd-lf-fast', *(f'{rival}-fast' for rival in NEAREST))
VARIANTS = (
    *('student', 'wkd-l', 'wkd-l_whole'),
    *('wkd-l_background-0', 'wkd-l_background-0.3'),
    *('wkd-f-roi', 'wkd-f-roi_background-0', 'wkd-f-roi_background-0-strong'),
    'wkd-f-roi_full',
    *('wkd-f-roi_grid-1', 'wkd-f-roi_grid-2', 'wkd-f-roi_grid-7'),
    *('wkd-f', 'wkd-f_grid-4', 'wkd-lf', 'wkd-lf-fast', 'wkd-lf_self'),
)
TEACHERS = (
    *('student', 'student_1360', 'kd', 'kd_teacher-2400'),
    *('pkd-roi', 'pkd-roi_teacher-2400', 'wkd-lf', 'wkd-lf_teacher-2400'),
    *('wkd-lf-fast', 'wkd-lf-fast_teacher-2400', 'student_1120'),
    *('wkd-lf_1600_teacher-2400', 'student_2720'),
    *('wkd-lf-fast_1600_teacher-2400', 'student_2240', 'teacher_2400'),
)
# what the paper claims: WKD and its rivals on the same tensors
PLACES = (
    ('logits', 'wkd-l', ('kd', 'dkd', 'nkd')),
    ('FPN maps', 'wkd-f', ('pkd', 'cwd', 'fitnet', 'ickd')),
    (
        'RoIAlign maps',
        'wkd-f-roi',
        ('pkd-roi', 'cwd-roi', 'fitnet-roi', 'ickd-roi', 'emd-roi'),
    ),
)
# with the stop and other teachers: ours and the nearest rivals
AGAIN = (
    (
        'minicoco, second teacher',
        ('wkd-lf-fast', 'wkd-lf-fast_grid-7'),
        ('fitnet-roi-fast_9', 'cwd-roi-fast'),
    ),
    ('iconcoco, second teacher', ('wkd-lf-fast',), ('fitnet-roi-fast',)),
)
# photographs, whose students have no RoIs: wkd-ln is wkd-l with wkd-f
PHOTOGRAPHS = 'cocophotos, YOLOX to YOLOX'
METHODS_ON_PHOTOGRAPHS = (
    *('student', 'student_1450', 'kd', 'dkd', 'pkd', 'fitnet', 'cwd'),
    *('wkd-l', 'wkd-f', 'wkd-ln', 'kd-pkd', 'kd-wkd-f'),
)
PHOTOGRAPHED = (
    *METHODS_ON_PHOTOGRAPHS,
    *('wkd-lnb', 'wkd-lb', 'wkd-lb-fast', 'kd-b', 'wkd-ln_raw', 'wkd-lnb_raw'),
)
# losses at their defaults, and where they were run with weights of their own:
# datasets and rows
UNTUNED = {
    **{
        f'Faster R-CNN, `{row}`': (
            ('minicoco, untuned', row),
            ('minicoco', row),
        )
        for row in ('wkd-lf', 'fitnet-roi', 'pkd-roi')
    },
    'Cascade to Faster R-CNN, `wkd-lf`': (
        ('minicoco, untuned pairs', 'cascade_wkd-lf'),
        ('minicoco, Cascade R-CNN', 'wkd-lf_from-cascade-r18-half'),
    ),
    'iconcoco Faster R-CNN, `wkd-lf`': (
        ('iconcoco, untuned', 'wkd-lf'),
        ('iconcoco, untuned', 'wkd-lf_weights'),
    ),
    'iconcoco Faster R-CNN, `fitnet-roi`': (
        ('iconcoco, untuned', 'fitnet-roi'),
        ('iconcoco', 'fitnet-roi'),
    ),
    'RetinaNet, `wkd-ln`': (
        ('minicoco, untuned pairs', 'retinanet_wkd-ln'),
        ('minicoco, RetinaNet', 'reference_wkd-lf'),
    ),
    'RetinaNet, `kd`': (
        ('minicoco, untuned pairs', 'retinanet_kd'),
        ('minicoco, RetinaNet', 'kd'),
    ),
}
GAINS = (
    'minicoco, untuned',
    'iconcoco, untuned',
    'minicoco, Cascade R-CNN to RetinaNet',
    'minicoco, to ATSS',
    'cocophotos, a quarter labelled',
    'cocophotos, Faster R-CNN to Faster R-CNN',
    'cocophotos, Faster R-CNN again',
)
SCANNED = ('temperature', 'gamma', 'kappa', 'reg', 'num_iters')
OURS = 'wkd-lf'
# beside the main rows of each dataset
BESIDE = {
    'minicoco': (*FAST, *NEAREST, 'student_1120', 'student_1360'),
    'iconcoco': (
        *('wkd-lf-fast', 'wkd-f_grid-4', 'student_910', 'student_1085'),
        *NEAREST,
    ),
}
# a method, its teacher, and the student alone for as long
EQUAL_TIME_ON_PHOTOGRAPHS = tuple(
    (PHOTOGRAPHS, method, 'teacher', 'student_1450')
    for method in ('wkd-lnb', 'wkd-ln', 'wkd-lb', 'pkd', 'kd')
)
EQUAL_TIME = (
    ('minicoco', 'wkd-lf', 'teacher', 'student_1360'),
    *(
        ('minicoco', method, 'teacher', 'student_1120')
        for method in ('wkd-lf-fast', *(f'{rival}-fast' for rival in NEAREST))
    ),
    ('iconcoco', 'wkd-lf', 'teacher', 'student_1085'),
    ('iconcoco', 'wkd-lf-fast', 'teacher', 'student_910'),
    *(
        ('minicoco', f'{method}_teacher-2400', 'teacher_2400', student)
        for method, student in (
            ('wkd-lf', 'student_1360'),
            ('wkd-lf-fast', 'student_1120'),
            ('wkd-lf_1600', 'student_2720'),
            ('wkd-lf-fast_1600', 'student_2240'),
        )
    ),
)

_BLOCK = re.compile(r'(<!-- table (.+?) -->\n).*?(<!-- end -->)', re.DOTALL)


def main() -> int:
    """Write or check the pages; the exit status is 0 if all is well."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--check', action='store_true', help='write nothing')
    check = parser.parse_args().check
    stale = []
    for page in PAGES:
        old = page.read_text(encoding='utf-8')
        new = fill(old)
        if new != old:
            stale.append(page)
            if not check:
                _write(page, new.encode())
    if not check:
        for name, picture in pictures():
            _write(IMAGES / name, picture)
    for page in stale:
        print(f'{page}: {"other numbers" if check else "written"}')
    return 1 if check and stale else 0


def fill(page: str) -> str:
    """Replace the tables of a page.

    Raises:
        KeyError: If the page names a table that does not exist.
    """
    return _BLOCK.sub(lambda b: f'{b[1]}{TABLES[b[2]]()}\n{b[3]}', page)


def pictures() -> Iterator[tuple[str, bytes]]:
    """The pictures and their file names."""
    photographs = _summary(PHOTOGRAPHS, PHOTOGRAPHED)
    yield 'results_cocophotos.png', draw_comparison(photographs)
    for dataset in BESIDE:
        summary = _summary(dataset, (*MAIN, *NEAREST))
        yield f'results_{dataset}.png', draw_comparison(summary)
        yield f'results_{dataset}_curves.png', draw_ap_curves(summary)
    scans = _scans()
    if scans:
        student = fmean(_aps_of_scanned_seeds()['student'])
        yield 'results_sensitivity.png', draw_sensitivity(scans, student)


def _summary(
    dataset: str,
    rows: Collection[str] | None = None,
    baseline: str | None = None,
) -> Summary:
    """The summary of some rows on a dataset, or of all."""
    runs = _runs(dataset)
    if rows is not None:
        runs = runs[runs.row.isin(rows) | (runs.role == 'teacher')]
    return summarise(runs, baseline)


def _runs(dataset: str) -> pd.DataFrame:
    runs = _read(RUNS, RUNS.stat().st_mtime_ns)
    return runs[runs.dataset == dataset]


@cache
def _read(path: Path, modified: int) -> pd.DataFrame:
    """The table as it was at a time: it is looked at again and again."""
    return read_table(path)


def _headline() -> str:
    """Methods on both datasets: mean, deviation, gap closed."""
    summaries = [_summary(dataset, HEADLINE) for dataset in BESIDE]
    header = ['method']
    teachers = ['teacher']
    for summary in summaries:
        header += [f'{summary.dataset}: box AP', 'gap closed']
        teachers += [f'{summary.teacher_ap:.1f}', '']
    lines = [header, teachers]
    for name in HEADLINE:
        line = ['student alone' if name == 'student' else f'`{name}`']
        for summary in summaries:
            line += _headline_cells(summary, name)
        lines.append(line)
    return markdown_table(lines)


def _headline_cells(summary: Summary, name: str) -> tuple[str, str]:
    for row in summary.rows:
        if row.name == name:
            std = '' if row.std is None else f' ± {row.std:.1f}'
            closed = row.gap_closed
            return (
                f'{row.ap.mean:.1f}{std} ({len(row.aps)})',
                '' if closed is None else f'{100 * closed:.0f} %',
            )
    return '', ''


def _photographs(names: Sequence[str]) -> str:
    """Methods on photographs: mean, deviation, what they gain."""
    summary = _summary(PHOTOGRAPHS, names)
    rows = {row.name: row for row in summary.rows}
    lines: list[tuple[str, ...]] = [
        ('method', 'box AP', 'minus student alone', '95 % interval')
    ]
    if summary.teacher_ap is not None:
        lines.append(('teacher', f'{summary.teacher_ap:.1f}', '', ''))
    for name in names:
        if name in rows:
            title = 'student alone' if name == 'student' else f'`{name}`'
            ap, _ = _headline_cells(summary, name)
            lines.append((title, ap, *difference_cells(rows[name].difference)))
    return markdown_table(lines)


def _comparison(dataset: str, *rows: str) -> str:
    return markdown_table(table_lines(_summary(dataset, rows)))


def _against(dataset: str) -> str:
    """What each rival lacks to our method, seed by seed."""
    lines: list[tuple[str, ...]] = [
        ('rival', f'{OURS} minus rival', '95 % interval', 'seeds')
    ]
    rivals = (*MAIN, *RIVALS, *BESIDE[dataset])
    for row in _summary(dataset, rivals, OURS).rows:
        if row.difference is None:
            continue
        mean, interval, seeds = row.difference
        turned = None if interval is None else (-interval[1], -interval[0])
        cells = difference_cells(Estimate(-mean, turned, seeds))
        lines.append((row.name, *cells, f'{seeds}'))
    return markdown_table(lines)


class Pair(NamedTuple):
    """A row beside another, over the seeds that both have."""

    ap: float
    other_ap: float
    difference: Estimate | None
    seeds: int

    def cells(self) -> tuple[str, ...]:
        """The difference, its interval and the seeds as text."""
        return (*difference_cells(self.difference), f'{self.seeds}')


def _pair(dataset: str, row: str, other: str) -> Pair | None:
    """What a row gains over another; None where one is not recorded."""
    return _paired(_runs(dataset), row, other)


def _paired(runs: pd.DataFrame, row: str, other: str) -> Pair | None:
    """The same of any runs."""
    if not {row, other} <= set(runs.row):
        return None
    rows = summarise(runs[runs.row.isin((row, other))], other).rows
    first, second = sorted(rows, key=lambda row: row.is_baseline)
    seeds = first.aps.keys() & second.aps.keys()
    if not seeds:
        return None
    ap, other_ap = (
        fmean(row.aps[seed] for seed in seeds) for row in (first, second)
    )
    return Pair(ap, other_ap, first.difference, len(seeds))


def _stop() -> str:
    """How the stop at half changes each method, and the difference to ours."""
    lines: list[tuple[str, ...]] = [
        (
            'dataset',
            'method',
            'box AP',
            'with the stop',
            'difference',
            '95 % interval',
        )
        + (f'{FAST[0]} minus it', '95 % interval', 'seeds')
    ]
    for dataset, fast in itertools.product(BESIDE, FAST):
        whole = fast.removesuffix('-fast')
        pair = _pair(dataset, fast, whole)
        if pair is None:
            continue
        ours = None if fast == FAST[0] else _pair(dataset, FAST[0], fast)
        change, interval, seeds = pair.cells()
        lines.append(
            (dataset, whole, f'{pair.other_ap:.1f}', f'{pair.ap:.1f}')
            + (change, interval)
            + difference_cells(ours and ours.difference)
            + (seeds,)
        )
    return markdown_table(lines)


def _same_place() -> str:
    """WKD beside each rival on the same tensors, seed by seed."""
    lines: list[tuple[str, ...]] = [
        ('on', 'dataset', 'WKD', 'box AP', 'rival', 'box AP')
        + ('difference', '95 % interval', 'seeds')
    ]
    for place, ours, rivals in PLACES:
        for dataset in BESIDE:
            for rival in rivals:
                pair = _pair(dataset, ours, rival)
                if pair is not None:
                    lines.append(
                        (place, dataset, ours, f'{pair.ap:.1f}', rival)
                        + (f'{pair.other_ap:.1f}', *pair.cells())
                    )
    return markdown_table(lines)


def _untuned() -> str:
    """Losses at their defaults beside the same ones with tuned weights."""
    lines: list[tuple[str, ...]] = [
        ('pair, losses', 'default', 'tuned', 'default minus tuned')
        + ('95 % interval', 'seeds')
    ]
    for title, sides in UNTUNED.items():
        runs = pd.concat(
            _runs(dataset).query('row == @row').assign(row=side, dataset=title)
            for side, (dataset, row) in zip(
                ('default', 'tuned'), sides, strict=True
            )
        )
        pair = _paired(runs, 'default', 'tuned')
        if pair is not None:
            lines.append(
                (title, f'{pair.ap:.1f}', f'{pair.other_ap:.1f}')
                + pair.cells()
            )
    return markdown_table(lines)


def _gains(dataset: str) -> str:
    """What each row of a dataset gains over the student alone."""
    lines: list[tuple[str, ...]] = [
        ('row', 'box AP', 'seeds', 'difference', '95 % interval')
    ]
    for row in _summary(dataset).rows:
        lines.append(
            (row.name, f'{row.ap.mean:.1f}', f'{len(row.aps)}')
            + difference_cells(row.difference)
        )
    return markdown_table(lines)


def _again() -> str:
    """Rivals with the stop, and ours beside each, for other teachers."""
    lines: list[tuple[str, ...]] = [
        ('dataset', 'ours', 'box AP', 'rival', 'box AP', 'difference')
        + ('95 % interval', 'seeds')
    ]
    for dataset, ours, rivals in AGAIN:
        for method, rival in itertools.product(ours, rivals):
            pair = _pair(dataset, method, rival)
            if pair is not None:
                lines.append(
                    (
                        dataset.partition(',')[0],
                        method,
                        f'{pair.ap:.1f}',
                        rival,
                    )
                    + (f'{pair.other_ap:.1f}', *pair.cells())
                )
    return markdown_table(lines)


def _changes() -> str:
    """What each variant gains over the method that it varies."""
    lines: list[tuple[str, ...]] = [
        ('variant', 'minus', 'difference', '95 % interval', 'seeds')
    ]
    changes = [(row, row.partition('_')[0]) for row in VARIANTS if '_' in row]
    # a full covariance of one cell, beside the diagonal of one cell
    changes.append(('wkd-f-roi_full', 'wkd-f-roi_grid-1'))
    for variant, method in changes:
        pair = _pair('minicoco', variant, method)
        if pair is not None:
            lines.append((variant, method, *pair.cells()))
    return markdown_table(lines)


def _equal_time(comparisons: Sequence[tuple[str, ...]]) -> str:
    """What each method gains over the student alone for as long.

    The gap, too, is that of the student that trained longer.
    """
    lines: list[tuple[str, ...]] = [
        ('dataset', 'method', 'box AP', 'student alone for as long')
        + ('difference', '95 % interval', 'gap closed', 'seeds')
    ]
    for dataset, method, teacher, longer in comparisons:
        pair = _pair(dataset, method, longer)
        whole = _summary(dataset)
        ceilings = {row.name: row.ap.mean for row in whole.rows}
        if whole.teacher_ap is not None:
            ceilings['teacher'] = whole.teacher_ap
        if pair is None or teacher not in ceilings:
            continue
        closed = (pair.ap - pair.other_ap) / (
            ceilings[teacher] - pair.other_ap
        )
        change, interval, seeds = pair.cells()
        lines.append(
            (dataset, method, f'{pair.ap:.1f}')
            + (f'{pair.other_ap:.1f} (`{longer}`)', change, interval)
            + (f'{100 * closed:.0f} %', seeds)
        )
    return markdown_table(lines)


def _tuning() -> str:
    """The weights that were tried; the best of each method is bold.

    It is the best on the seeds that all weights of the method have.
    """
    recorded = {row.name: row for row in _summary(TUNING).rows}
    tried: dict[str, dict[float, RowSummary]] = {}
    for name in recorded:
        method, _, tried_weight = name.rpartition('_')
        if method:
            rows = tried.setdefault(method, {})
            rows[float(tried_weight)] = recorded[name]
    lines: list[tuple[str, ...]] = [('method', 'weight: box AP')]
    for method, rows in tried.items():
        shared = set.intersection(*(set(row.aps) for row in rows.values()))
        aps = {
            weight: fmean(row.aps[seed] for seed in shared or row.aps)
            for weight, row in rows.items()
        }
        best = max(aps, key=lambda weight: aps[weight])
        cells = []
        for weight, row in sorted(rows.items()):
            seeds = f' ({len(row.aps)} seeds)' if len(row.aps) > 1 else ''
            cell = f'{weight:g}: {row.ap.mean:.1f}{seeds}'
            cells.append(f'**{cell}**' if weight == best else cell)
        lines.append((method, ', '.join(cells)))
    return markdown_table(lines)


def _aps_of_scanned_seeds() -> dict[str, list[float]]:
    """Box AP of each row, for the seeds that all values of the scan have."""
    rows = _summary('minicoco').rows
    prefixes = tuple(f'wkd-l_{name}-' for name in SCANNED)
    scanned = [set(row.aps) for row in rows if row.name.startswith(prefixes)]
    seeds = sorted(set.intersection(*scanned)) if scanned else []
    return {
        row.name: [row.aps[seed] for seed in seeds if seed in row.aps]
        for row in rows
    }


def _scans() -> list[Scan]:
    """Box AP of WKD-L over each of its hyper-parameters."""
    default = WKDLogitLoss()
    rows = _aps_of_scanned_seeds()
    scans = []
    for name in SCANNED:
        aps = {
            float(row.rpartition('-')[2]): values
            for row, values in rows.items()
            if row.startswith(f'wkd-l_{name}-')
        }
        if aps:
            chosen = getattr(default, name)
            aps[chosen] = rows['wkd-l']
            scans.append(Scan(name, aps, chosen))
    return scans


def _sensitivity() -> str:
    lines: list[tuple[str, ...]] = [
        ('hyper-parameter', 'value', 'box AP', 'std', 'seeds')
    ]
    for name, aps, chosen in _scans():
        for value, values in sorted(aps.items()):
            std = f'{stdev(values):.1f}' if len(values) > 1 else NONE
            shown = f'**{value:g}**' if value == chosen else f'{value:g}'
            lines.append(
                (name, shown, f'{fmean(values):.1f}', std, f'{len(values)}')
            )
    return markdown_table(lines)


TABLES: dict[str, Callable[[], str]] = {
    'photographs': partial(_photographs, PHOTOGRAPHED),
    'photographs, methods': partial(_photographs, METHODS_ON_PHOTOGRAPHS),
    'untuned': _untuned,
    **{dataset: partial(_gains, dataset) for dataset in GAINS},
    'headline': _headline,
    'tuning': _tuning,
    'minicoco': partial(_comparison, 'minicoco', *MAIN, *BESIDE['minicoco']),
    'minicoco, against': partial(_against, 'minicoco'),
    'iconcoco': partial(_comparison, 'iconcoco', *MAIN, *BESIDE['iconcoco']),
    'iconcoco, against': partial(_against, 'iconcoco'),
    'rivals': partial(_comparison, 'minicoco', 'student', *RIVALS),
    'variants': partial(_comparison, 'minicoco', *VARIANTS),
    'variants, against': _changes,
    'same place': _same_place,
    'equal time': partial(_equal_time, EQUAL_TIME),
    'photographs, equal time': partial(_equal_time, EQUAL_TIME_ON_PHOTOGRAPHS),
    'stop': _stop,
    'second teacher': _again,
    'teachers': partial(_comparison, 'minicoco', *TEACHERS),
    'sensitivity': _sensitivity,
}


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path, force=True) as file:
        file.write(content)


if __name__ == '__main__':
    sys.exit(main())
