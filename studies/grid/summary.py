"""What the records of a table show: means, differences, shares of the gap."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from studies.grid.accuracy import gap_closed
from studies.grid.table import Curve, curve_of

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


def summarise(table: pd.DataFrame, baseline: str | None = None) -> Summary:
    """Compare the rows of a table.

    Of each row, the records count that have the config of its last one.

    Args:
        table: The table.
        baseline: The row that the others are compared with; None for that of
            the grid.

    Raises:
        ValueError: If there is nothing to compare, what is there is of
            several datasets or baselines, or the baseline is not there.
    """
    datasets = sorted(set(table.dataset))
    if len(datasets) != 1:
        raise ValueError(
            'a comparison is on one dataset; the table has records of '
            f'{"; ".join(datasets) or "none"} (--dataset chooses one)'
        )
    last = table.groupby('row').config_hash.transform('last')
    current = table[table.config_hash == last]
    current = current.drop_duplicates(['row', 'seed'], keep='last')
    teachers = current[current.seed.isna()]
    teacher_ap = float(teachers.mAP.iloc[-1]) if len(teachers) else None
    trained = current[current.seed.notna()]
    by_row = {
        str(name): runs.set_index('seed').sort_index()
        for name, runs in trained.groupby('row', sort=False)
    }
    baseline = _baseline(trained, baseline)
    alone = by_row.get(baseline or '', trained.iloc[:0].set_index('seed'))
    rows = [
        _summarise_row(name, runs, name == baseline, alone, teacher_ap)
        for name, runs in by_row.items()
    ]
    return Summary(
        datasets[0],
        teacher_ap,
        tuple(sorted(rows, key=lambda row: -row.ap.mean)),
        len(table) - len(current),
        _notes(trained),
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
    mean, n = float(values.mean()), values.size
    if n == 1:
        return Estimate(mean, None, 1)
    low, high = stats.t.interval(CONFIDENCE, n - 1)
    error = float(stats.sem(values))
    return Estimate(mean, (mean + low * error, mean + high * error), n)


def mean_curve(curves: Iterable[Curve]) -> Curve:
    """Where all of several curves have a point, the mean over them."""
    frame = pd.DataFrame([dict(curve) for curve in curves])
    means = frame.dropna(axis=1).mean().sort_index()
    return tuple((int(i), float(ap)) for i, ap in means.items())


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


def _baseline(trained: pd.DataFrame, asked: str | None) -> str | None:
    """The row to compare with; None if it is not in the table."""
    names = sorted(set(trained.row))
    if asked is not None:
        if asked not in names:
            raise ValueError(
                f'the baseline {asked!r} is not a row of the table, which has '
                f'{", ".join(names)}'
            )
        return asked
    found = sorted(set(trained.row[trained.role == 'baseline']))
    if len(found) > 1:
        raise ValueError(
            f'a comparison has one baseline; the table has {", ".join(found)}'
        )
    return found[0] if found else None


def _summarise_row(
    name: str,
    runs: pd.DataFrame,
    is_baseline: bool,
    baseline: pd.DataFrame,
    teacher_ap: float | None,
) -> RowSummary:
    """Sum up a row; both frames have a line for each seed."""
    curves = {int(s): curve_of(c) for s, c in runs.ap_curve.items()}
    difference = closed = ratio = caught_up = None
    paired = runs.index.intersection(baseline.index)
    if len(paired):
        aps, alone = runs.mAP[paired], baseline.mAP[paired]
        if not is_baseline:
            difference = estimate(aps - alone)
            if teacher_ap is not None:
                closed = gap_closed(
                    teacher=teacher_ap,
                    baseline=fmean(alone),
                    distilled=fmean(aps),
                )
        seconds = fmean(baseline.train_seconds[paired])
        if seconds:
            ratio = fmean(runs.train_seconds[paired]) / seconds
        caught_up = iterations_to(
            fmean(alone), mean_curve(curves[seed] for seed in paired)
        )
    std = float(runs.mAP.std())
    return RowSummary(
        name=name,
        is_baseline=is_baseline,
        aps={int(seed): float(ap) for seed, ap in runs.mAP.items()},
        ap=estimate(runs.mAP),
        std=None if math.isnan(std) else std,
        difference=difference,
        gap_closed=closed,
        train_seconds=fmean(runs.train_seconds),
        time_ratio=ratio,
        caught_up=caught_up,
        curves=curves,
    )


def _notes(trained: pd.DataFrame) -> tuple[str, ...]:
    """What a reader should know before comparing."""
    notes = []
    if len(trained[['machine', 'threads', 'jobs']].drop_duplicates()) > 1:
        notes.append(
            'The runs are of several machines, or of one with different '
            'numbers of jobs: do not compare their times.'
        )
    if trained.groupby('row').seed.agg(frozenset).nunique() > 1:
        notes.append(
            'The rows do not have the same seeds: compare paired '
            'differences, not means.'
        )
    if trained.iterations.nunique() > 1:
        notes.append('The rows were not trained for equal iterations.')
    if trained.commit.nunique() > 1:
        notes.append(f'The runs are of {trained.commit.nunique()} commits.')
    if trained.commit.str.endswith('-dirty').any():
        notes.append('Some runs had changes that were not committed.')
    return tuple(notes)
