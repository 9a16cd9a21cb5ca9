"""Distil a small detector on a CPU, from drawing the data to a report.

Draws minicoco, trains a teacher, a student alone and the same student with
the teacher, measures all three and writes a report. A second call continues
where the first one stopped.
"""

import argparse
import contextlib
import io
import os
import shlex
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
        '--work-dir',
        type=Path,
        default=Path('work_dirs/demo'),
        help='folder for everything that is made (default: %(default)s)',
    )
    parser.add_argument(
        '--seed',
        type=int,
        default=0,
        help='seed of the three trainings (default: %(default)s)',
    )
    parser.add_argument(
        '--force',
        action='store_true',
        help='start over, train again; for a change of code, which is not\n'
        'noticed as one of a config is',
    )
    parser.add_argument(
        '--max-iters',
        type=int,
        metavar='N',
        help='iterations of each training, for a quick look\n'
        "(default: the configs' own)",
    )
    parser.add_argument(
        '--num-train',
        type=int,
        metavar='N',
        help="training images (default: minicoco's own)",
    )
    parser.add_argument(
        '--num-val',
        type=int,
        metavar='N',
        help="validation images (default: minicoco's own)",
    )
    return parser.parse_args()


def main() -> int:
    """Run the demo; the exit code is 0 if all went well."""
    args = parse_args()
    # These detectors gain nothing from a second thread, and two threads that
    # share a core with another program wait for each other most of the time.
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    # `kill` is as Ctrl-C: it stops the training that is running too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Of its own file: measuring silences sys.stdout, but not the progress.
    console = Console(file=sys.stdout, highlight=False)
    # Not at the top, so that --help is fast; mmdet prints and warns on import.
    with (
        console.status('loading PyTorch and MMDetection'),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        from studies.demo.pipeline import (
            NUM_STEPS,
            Options,
            run_demo,
            show_results,
        )
        from studies.grid.console import Steps

    steps = Steps(console, NUM_STEPS)
    command = shlex.join(['python', 'tools/demo.py', *sys.argv[1:]])
    try:
        options = Options(repo=REPO, command=command, **vars(args))
        results, outputs = run_demo(options, steps)
    except (ValueError, RuntimeError) as error:
        console.print(str(error), style='red', markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print('interrupted; the same command continues')
        return 130
    show_results(steps, results, outputs)
    return 0


if __name__ == '__main__':
    sys.exit(main())
