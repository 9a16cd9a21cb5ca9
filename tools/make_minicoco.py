"""Draw minicoco, the built-in detection dataset, in COCO's layout."""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # studies/

from studies.toydata.minicoco.generate import generate_minicoco
from studies.toydata.minicoco.sheet import write_contact_sheet


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('root', type=Path, help='folder of the dataset')
    parser.add_argument(
        '--num-train', type=int, default=2000, help='training images'
    )
    parser.add_argument(
        '--num-val', type=int, default=400, help='validation images'
    )
    parser.add_argument(
        '--image-size', type=int, default=128, help='side in pixels'
    )
    parser.add_argument('--seed', type=int, default=0, help='seed')
    parser.add_argument(
        '--force',
        action='store_true',
        help='replace a minicoco that was made with other parameters',
    )
    parser.add_argument(
        '--contact-sheet',
        type=Path,
        metavar='FILE',
        help='also write a PNG that shows the categories and some images',
    )
    return parser.parse_args()


def main() -> None:
    """Draw the dataset and, where asked for, its contact sheet."""
    args = parse_args()
    made = generate_minicoco(
        args.root,
        num_train=args.num_train,
        num_val=args.num_val,
        image_size=args.image_size,
        seed=args.seed,
        force=args.force,
        progress=tqdm,
    )
    state = 'written' if made.generated else 'already there, left as it is'
    print(f'{made.root}: {state}')
    if args.contact_sheet:
        write_contact_sheet(
            args.contact_sheet, image_size=args.image_size, seed=args.seed
        )
        print(f'{args.contact_sheet}: contact sheet')


if __name__ == '__main__':
    main()
