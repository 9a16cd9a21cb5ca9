"""How time and memory grow: with R, K, the image's size and the levels.

    python benchmarks/growth.py [--quick] [--out DIR]

Writes a table, and a picture with the exponents that fit the larger half of
each range (1 is linear, 2 is quadratic).
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from losses import LogitProblem
from matplotlib.figure import Figure
from mmdet.utils import register_all_modules
from mmengine.logging import MMLogger
from step import Step, build
from timing import alternate, peak_extra_mib, report

from mmwkd.functional import gaussian_wasserstein


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--quick', action='store_true', help='shorter ranges')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/bench'))
    return parser.parse_args()


def by_rois(num_rois: int) -> Callable[[], Any]:
    return LogitProblem(num_rois, 81).ours


def by_categories(num_categories: int) -> Callable[[], Any]:
    return LogitProblem(512, num_categories).ours


def by_levels(num_levels: int) -> Callable[[], Any]:
    """WKD-F on the finest levels of an FPN on one 512 x 512 image."""
    sides = [128, 64, 32, 16, 8][5 - num_levels :]
    levels = [
        (torch.randn(1, 256, side, side), torch.randn(1, 256, side, side))
        for side in sides
    ]

    def run() -> None:
        for student, teacher in levels:
            student = student.requires_grad_()
            student.grad = None
            terms = gaussian_wasserstein(student, teacher, grid=4)
            sum(term.mean() for term in terms).backward()

    return run


def by_image(size: int) -> Callable[[], Any]:
    """A step of tiny detectors with WKD-L and WKD-F on RoIs."""
    return Step(build('wkd-lf', 'tiny'), (size, size)).whole


AXES: dict[str, tuple[Callable[[int], Callable], Sequence[int]]] = {
    'RoIs R (WKD-L, K = 81)': (by_rois, (256, 512, 1024, 2048, 4096)),
    'categories K (WKD-L, R = 512)': (
        by_categories,
        (21, 41, 81, 151, 366, 1204),
    ),
    'FPN levels, coarsest first (WKD-F)': (by_levels, (1, 2, 3, 4, 5)),
    'image side (step of tiny detectors)': (by_image, (128, 192, 256, 384)),
}


def rows_of(axis: str, quick: bool, rounds: int) -> list[dict[str, Any]]:
    make, values = AXES[axis]
    rows = []
    for value in values[:-1] if quick else values:
        run = make(value)
        timed = alternate({'run': run}, rounds)['run']
        rows.append(
            {
                'axis': axis,
                'value': value,
                'ms': timed['median_ms'],
                'iqr ms': timed['iqr_ms'],
                'peak MiB': peak_extra_mib(run),
            }
        )
    return rows


def exponent(rows: list[dict[str, Any]], key: str) -> float | None:
    """Slope of the larger half of a range in doubly logarithmic axes."""
    large = rows[len(rows) // 2 :]
    if any(not row[key] for row in large):
        return None
    x, y = (np.log([row[name] for row in large]) for name in ('value', key))
    return float(np.polyfit(x, y, 1)[0])


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    figure = Figure(figsize=(10, 7), layout='constrained')
    for axes, axis in zip(figure.subplots(2, 2).flat, AXES, strict=True):
        axis_rows = [row for row in rows if row['axis'] == axis]
        for key, marker in (('ms', 'o'), ('peak MiB', 's')):
            slope = exponent(axis_rows, key)
            label = key if slope is None else f'{key}, exponent {slope:.2f}'
            axes.loglog(
                [row['value'] for row in axis_rows],
                [row[key] for row in axis_rows],
                marker=marker,
                label=label,
            )
        ticks = [row['value'] for row in axis_rows]
        axes.set_xticks(ticks, labels=map(str, ticks))
        axes.minorticks_off()
        axes.set_xlabel(axis)
        axes.legend()
        axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    register_all_modules()
    MMLogger.get_current_instance().setLevel('ERROR')
    rows = [
        row for axis in AXES for row in rows_of(axis, args.quick, args.rounds)
    ]
    report('Growth', rows, args.out / 'growth.json')
    draw(rows, args.out / 'growth.png')
    print(f'drawn to {args.out / "growth.png"}')


if __name__ == '__main__':
    main()
