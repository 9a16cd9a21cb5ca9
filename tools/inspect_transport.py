"""Show what entropic transport does on RoIs, and what reg does to it.

Logits come from a file (--logits, with --cost), or from a distiller that is
run on a few training images.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from mmwkd.costs.inspection import inspect_transport
from mmwkd.costs.roi_logits import pick_subject


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config', nargs='?', help='config of a distillation run'
    )
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help="the student's checkpoint (default: its initial weights)",
    )
    parser.add_argument(
        '--logits',
        type=Path,
        metavar='NPZ',
        help='student_logits (R, K), teacher_logits (R, K) and target (R,)',
    )
    parser.add_argument(
        '--cost',
        type=Path,
        metavar='FILE',
        help="cost matrix (default: the config's own cost)",
    )
    parser.add_argument(
        '--num-images', type=int, default=8, help='training images to run on'
    )
    parser.add_argument(
        '--num-rois', type=int, default=32, help='foreground RoIs to take'
    )
    parser.add_argument(
        '--num-plans',
        type=int,
        default=6,
        help='plans to draw, of the RoIs with the largest distance',
    )
    parser.add_argument('--seed', type=int, default=0)
    for name, kind in (
        ('temperature', float),
        ('kappa', float),
        ('reg', float),
        ('num-iters', int),
    ):
        parser.add_argument(
            f'--{name}', type=kind, help="instead of the loss's own"
        )
    parser.add_argument(
        '--out-dir', type=Path, default=Path('work_dirs/transport')
    )
    parser.add_argument(
        '--force', action='store_true', help='replace earlier pictures'
    )
    return parser.parse_args()


def main() -> int:
    """Inspect the transport; the exit code is 0 if all went well."""
    options = vars(parse_args())
    drawing = {
        name: options.pop(name) for name in ('out_dir', 'num_plans', 'force')
    }
    console = Console(file=sys.stdout, highlight=False)
    try:
        subject = pick_subject(**options)
        inspect_transport(subject, console=console, **drawing)
    except (ValueError, OSError) as error:
        console.print(str(error), style='red', markup=False, soft_wrap=True)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
