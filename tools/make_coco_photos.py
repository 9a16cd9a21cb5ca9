"""Make the photographs of the experiments from COCO's val2017."""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # studies/

from studies.photographs.subset import make_coco_photos


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        'coco',
        type=Path,
        help='folder with val2017/ and annotations/instances_val2017.json',
    )
    parser.add_argument(
        'out',
        type=Path,
        nargs='?',
        default=Path('data/coco_photos'),
        help='folder to write',
    )
    return parser.parse_args()


def main() -> None:
    """Write the subset."""
    args = parse_args()
    root = make_coco_photos(args.coco, args.out, progress=tqdm)
    print(f'{root}: written')


if __name__ == '__main__':
    main()
