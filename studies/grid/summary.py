"""What the records of a table show: means, differences, shares of the gap."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from studies.grid.accuracy import gap_closed
from studies.grid.table import Curve, Record

CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """A mean over seeds with its t interval."""

    mean: float
    interval: tuple[float, float] | None  # None for one seed
    num_seeds: int


class RowSummary(NamedTuple):
    """A row of the comparison."""

    name: str
    is_baseline: bool
    aps: Mapping[int, float]  # box AP by seed
    ap: Estimate
    std: float | None  # of the sample; None for one seed
    difference: Estimate | None  # over seeds that the baseline has too
    gap_closed: float | None  # None without a teacher that is better
    train_seconds: float  # mean
    # of means over the seeds that the baseline has too; None without any
    time_ratio: float | None
    caught_up: float | None  # iterations to the baseline's AP; None if never
    curves: Mapping[int, Curve]  # by seed


class Summary(NamedTuple):
    """A comparison on one dataset."""

    dataset: str
    teacher_ap: float | None
    rows: tuple[RowSummary, ...]  # best mean first
    superseded: int  # records that a later config of their row left behind
    notes: tuple[str, ...]  # what makes rows hard to compare


def summarise(
    records: Sequence[Record], baseline: str | None = None
) -> Summary:
    """Compare the rows of a table.

    Of each row, the records count that have the config of its last one.

    Args:
        records: The table.
        baseline: The row that the others are compared with; None for that of
            the grid.

    Raises:
        ValueError: If there is nothing to compare, what is there is of
            several datasets or baselines, or the baseline is not there.
    """
    datasets = sorted({record.dataset for record in records})
    if len(datasets) != 1:
        raise ValueError(
            'a comparison is on one dataset; the table has records of '
            f'{"; ".join(datasets) or "none"} (--dataset chooses one)'
        )
    current = _current(records)
    if baseline is not None:
        current = _with_baseline(current, baseline)
    by_row: dict[str, dict[int, Record]] = {}
    teacher_ap = None
    for record in current:
        if record.seed is None:
            teacher_ap = record.accuracy.ap
        else:
            by_row.setdefault(record.row, {})[record.seed] = record
    baselines = {r.row for r in current if r.role == 'baseline'}
    if len(baselines) > 1:
        raise ValueError(
            'a comparison has one baseline; the table has '
            f'{", ".join(sorted(baselines))}'
        )
    alone = by_row[baselines.pop()] if baselines else {}
    rows = [
        _summarise_row(name, runs, alone, teacher_ap)
        for name, runs in by_row.items()
    ]
    return Summary(
        datasets[0],
        teacher_ap,
        tuple(sorted(rows, key=lambda row: -row.ap.mean)),
        len(records) - len(current),
        _notes(current, by_row),
    )


def estimate(values: ArrayLike) -> Estimate:
    """Mean of independent values and its 95 % t interval.

    Of paired differences, this is the interval of the paired t-test.

    Args:
        values: One value for each seed, at least one, of shape (n,).

    Raises:
        ValueError: If there is no value, or one is not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise ValueError(f'expected finite values of shape (n,), got {values}')
    mean = float(values.mean())
    n = values.size
    if n == 1:
        return Estimate(mean, None, 1)
    error = float(values.std(ddof=1)) / math.sqrt(n)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * error
    return Estimate(mean, (mean - half, mean + half), n)


def mean_curve(curves: Iterable[Curve]) -> Curve:
    """Where all of several curves have a point, the mean over them."""
    named = [dict(curve) for curve in curves]
    shared = sorted(set(named[0]).intersection(*named))
    return tuple(
        (i, statistics.fmean(curve[i] for curve in named)) for i in shared
    )


def iterations_to(ap: float, curve: Curve) -> float | None:
    """The first iteration at which a curve reaches a box AP.

    Between two validations, and from 0 at the start to the first, the curve
    is a straight line.

    Returns:
        The iteration; None if the curve stays below.
    """
    before = (0, 0.0)
    for point in curve:
        if point[1] >= ap:
            (i, low), (j, high) = before, point
            return (
                j if high == low else i + (j - i) * (ap - low) / (high - low)
            )
        before = point
    return None


def _with_baseline(records: Sequence[Record], name: str) -> list[Record]:
    rows = sorted({r.row for r in records if r.seed is not None})
    if name not in rows:
        raise ValueError(
            f'the baseline {name!r} is not a row of the table, which has '
            f'{", ".join(rows)}'
        )
    return [
        record
        if record.role == 'teacher'
        else replace(
            record, role='baseline' if record.row == name else 'method'
        )
        for record in records
    ]


def _current(records: Sequence[Record]) -> list[Record]:
    config = {record.row: record.config_hash for record in records}
    latest = {
        (record.row, record.seed): record
        for record in records
        if record.config_hash == config[record.row]
    }
    return list(latest.values())


def _summarise_row(
    name: str,
    runs: Mapping[int, Record],
    baseline: Mapping[int, Record],
    teacher_ap: float | None,
) -> RowSummary:
    aps = {seed: runs[seed].accuracy.ap for seed in sorted(runs)}
    seconds = [run.train_seconds for run in runs.values()]
    is_baseline = runs is baseline
    difference = closed = ratio = caught_up = None
    paired = [seed for seed in aps if seed in baseline]
    if paired:
        alone = [baseline[seed].accuracy.ap for seed in paired]
        taught = [aps[seed] for seed in paired]
        if not is_baseline:
            difference = estimate(np.subtract(taught, alone))
            if teacher_ap is not None:
                closed = gap_closed(
                    teacher=teacher_ap,
                    baseline=statistics.fmean(alone),
                    distilled=statistics.fmean(taught),
                )
        ours, theirs = (
            statistics.fmean(of[seed].train_seconds for seed in paired)
            for of in (runs, baseline)
        )
        ratio = ours / theirs if theirs else None
        caught_up = iterations_to(
            statistics.fmean(alone),
            mean_curve(runs[seed].curve for seed in paired),
        )
    return RowSummary(
        name=name,
        is_baseline=is_baseline,
        aps=aps,
        ap=estimate(list(aps.values())),
        std=statistics.stdev(aps.values()) if len(aps) > 1 else None,
        difference=difference,
        gap_closed=closed,
        train_seconds=statistics.fmean(seconds),
        time_ratio=ratio,
        caught_up=caught_up,
        curves={seed: runs[seed].curve for seed in aps},
    )


def _notes(
    current: Sequence[Record], by_row: Mapping[str, Mapping[int, Record]]
) -> tuple[str, ...]:
    """What a reader should know before comparing."""
    trained = [record for record in current if record.seed is not None]
    notes = []
    if len({(r.machine, r.threads, r.jobs) for r in trained}) > 1:
        notes.append(
            'The runs are of several machines, or of one with different '
            'numbers of jobs: do not compare their times.'
        )
    if len({frozenset(runs) for runs in by_row.values()}) > 1:
        notes.append(
            'The rows do not have the same seeds: compare paired '
            'differences, not means.'
        )
    if len({r.iterations for r in trained}) > 1:
        notes.append('The rows were not trained for equal iterations.')
    commits = {r.commit or 'unknown' for r in trained}
    if len(commits) > 1:
        notes.append(f'The runs are of {len(commits)} commits.')
    if any(commit.endswith('-dirty') for commit in commits):
        notes.append('Some runs had changes that were not committed.')
    return tuple(notes)
