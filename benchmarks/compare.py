"""Whether a benchmark became slower or larger than an older run of it.

    python benchmarks/compare.py OLD.json NEW.json [--tolerance 0.15]

Rows are matched by their settings; times and peaks are compared as ratios. A
ratio above 1 + tolerance is a regression, and the exit status is then 1. Runs
of different machines are compared by their own reference (the bare products,
the time to read, the student and the teacher) where the rows have one.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

# our own figures, and what the same run offers to scale them by
OURS = {
    'ours ms': ('products ms', 'read both twice ms'),
    'distiller ms': ('student ms',),
    'forward ms': ('read both twice ms',),
    'with it ms': ('plain ms',),
    'ms': (),
    'ours peak MiB': (),
    'whole peak MiB': (),
    'peak MiB': (),
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('old', type=Path)
    parser.add_argument('new', type=Path)
    parser.add_argument('--tolerance', type=float, default=0.15)
    return parser.parse_args()


def settings(row: dict[str, Any]) -> tuple:
    """The settings of a row, without its results."""
    return tuple(
        (key, value)
        for key, value in row.items()
        if isinstance(value, (str, int))
    )


def ratios(
    old: dict[str, Any], new: dict[str, Any]
) -> list[tuple[tuple, str, float]]:
    """New over old of each figure of ours, by row.

    Raises:
        ValueError: If the files have no row in common.
    """
    before = {settings(row): row for row in old['rows']}
    same_machine = old['machine']['cpu'] == new['machine']['cpu']
    found = []
    for row in new['rows']:
        past = before.get(settings(row))
        if past is None:
            continue
        for key, references in OURS.items():
            if not row.get(key) or not past.get(key):
                continue
            ratio = row[key] / past[key]
            for reference in references:
                if not same_machine and row.get(reference):
                    ratio *= past[reference] / row[reference]
            found.append((settings(row), key, ratio))
    if not found:
        raise ValueError(
            'the two files have no row in common: give two runs of the same '
            'benchmark'
        )
    return found


def main() -> None:
    args = parse_args()
    try:
        old, new = (
            json.loads(path.read_text()) for path in (args.old, args.new)
        )
        found = ratios(old, new)
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f'cannot compare {args.old} with {args.new}: {error}')
    table = Table('row', 'figure', 'new / old', title='Against an older run')
    slower = 0
    for row, key, ratio in found:
        worse = ratio > 1 + args.tolerance
        slower += worse
        table.add_row(
            ', '.join(f'{name} {value}' for name, value in row),
            key,
            f'{ratio:.2f}' + (' REGRESSION' if worse else ''),
        )
    console = Console(width=160)
    console.print(table)
    console.print(
        f'{slower} of {len(found)} figures are more than '
        f'{100 * args.tolerance:g} % above the older run'
    )
    sys.exit(slower > 0)


if __name__ == '__main__':
    main()
