"""Compare distillation methods: train each with several seeds, and sum up.

GRID is a Python file that names the methods and the seeds (docs/experiments.md
says how). A second call continues where the first one stopped. In place of a
grid, the table of one is summarised again.
"""

import argparse
import contextlib
import io
import os
import signal
import sys
from pathlib import Path

from rich.console import Console

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))  # studies/ is not installed


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        'source', type=Path, metavar='GRID', help='grid file, or a table'
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        required=True,
        help='folder for checkpoints and logs',
    )
    parser.add_argument(
        '--jobs',
        type=int,
        default=2,
        metavar='N',
        help='runs at a time (default: %(default)s)',
    )
    parser.add_argument(
        '--table',
        type=Path,
        metavar='FILE.csv',
        help='table of the runs (default: runs.csv in the work-dir)',
    )
    parser.add_argument(
        '--summary',
        type=Path,
        metavar='DIR',
        help='folder of the summary (default: summary in the work-dir)',
    )
    parser.add_argument(
        '--baseline',
        metavar='ROW',
        help="row that the summary compares with (default: the grid's)",
    )
    parser.add_argument(
        '--dataset',
        metavar='LABEL',
        help='in place of a grid: sum up the runs with this label',
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='check everything and list the runs, but run nothing',
    )
    parser.add_argument(
        '--emit',
        choices=('commands', 'slurm'),
        help='print the open runs as lines of shell or as a Slurm array, for\n'
        'another program to run; a later call reads back what they left',
    )
    return parser.parse_args()


def main() -> int:
    """Compare; the exit code is 0 if all runs went well."""
    args = parse_args()
    # `kill` is as Ctrl-C: it stops the runs too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # what is emitted is all that goes to the output
    stream = sys.stderr if args.emit else sys.stdout
    console = Console(file=stream, highlight=False)
    # Not at the top, so that --help is fast; mmdet prints and warns on import.
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    with (
        console.status('loading MMDetection'),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        from studies.grid.compare import Options, compare

    try:
        complete = compare(Options(repo=REPO, **vars(args)), console)
    except (OSError, ValueError) as error:
        console.print(str(error), style='red', markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print('interrupted; the same command continues')
        return 130
    return 0 if complete else 1


if __name__ == '__main__':
    sys.exit(main())
