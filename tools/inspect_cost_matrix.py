"""Show how good a cost matrix is: a table, pictures and an HTML report."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from mmwkd.relations.inspection import inspect_cost_matrix


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
        '--confusion',
        type=Path,
        metavar='FILE',
        help="mean softmax of the teacher's boxes of each category, (K, K), "
        '.npy, or .npz with the entry confusion',
    )
    parser.add_argument(
        '--kappa', type=float, default=1.0, help='sharpness of the drawn cost'
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
    console = Console(file=sys.stdout, highlight=False)
    try:
        inspect_cost_matrix(**vars(args), console=console)
    except (ValueError, OSError) as error:
        console.print(str(error), style='red', markup=False, soft_wrap=True)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
