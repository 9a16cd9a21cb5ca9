"""Show how good a cost matrix is: a table, pictures and an HTML report."""

import argparse
import sys
from pathlib import Path

from mmdet.utils import register_all_modules
from mmengine.config import DictAction
from rich.console import Console
from tqdm import tqdm

import mmwkd  # noqa: F401  registers the components
from mmwkd.costs.inspection import inspect_cost_matrix


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('file', type=Path, help='cost matrix')
    parser.add_argument(
        '--compare',
        type=Path,
        metavar='FILE',
        help='another cost matrix of the same categories',
    )
    parser.add_argument(
        '--ann-file',
        type=Path,
        metavar='JSON',
        help='annotations in COCO format: supercategories, and what to show',
    )
    parser.add_argument(
        '--img-prefix',
        type=Path,
        metavar='DIR',
        help='folder of the images of --ann-file, to show the categories',
    )
    parser.add_argument(
        '--config',
        help='config of the teacher, or of a distillation run: correlates the '
        "matrix with the teacher's confusions on the validation split",
    )
    parser.add_argument(
        '--checkpoint',
        help="weights of the teacher (default: those that a run's config "
        'names)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='changes to --config',
    )
    parser.add_argument(
        '--device', help='where the teacher runs, such as cuda:0 or cpu'
    )
    parser.add_argument(
        '--kappa', type=float, default=2.0, help='sharpness of the drawn cost'
    )
    parser.add_argument(
        '--out-dir',
        type=Path,
        help='folder for the report (default: work_dirs/cost_matrix/FILE)',
    )
    parser.add_argument(
        '--force', action='store_true', help='replace an earlier report'
    )
    return parser.parse_args()


def main() -> int:
    """Inspect the matrix; the exit code is 0 if all went well."""
    args = parse_args()
    register_all_modules()
    console = Console(file=sys.stdout, highlight=False)
    try:
        inspect_cost_matrix(**vars(args), console=console, progress=tqdm)
    except (ValueError, FloatingPointError, OSError) as error:
        console.print(str(error), style='red', markup=False, soft_wrap=True)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
