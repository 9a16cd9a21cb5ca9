"""Compose iconcoco, a detection dataset of emoji, in COCO's layout."""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # studies/

from studies.toydata.iconcoco.build import build_iconcoco


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('data/iconcoco'),
        help='folder of the dataset',
    )
    parser.add_argument(
        '--cache',
        type=Path,
        default=Path('data/cache'),
        help='folder of what is fetched from npm and PyPI',
    )
    parser.add_argument(
        '--train', type=int, default=2000, help='training images'
    )
    parser.add_argument(
        '--val', type=int, default=500, help='validation images'
    )
    parser.add_argument(
        '--tune',
        type=int,
        default=300,
        help='images to choose hyper-parameters on',
    )
    parser.add_argument('--size', type=int, default=192, help='side in pixels')
    parser.add_argument('--seed', type=int, default=0, help='seed')
    parser.add_argument(
        '--force',
        action='store_true',
        help='replace an iconcoco that was made with other parameters',
    )
    parser.add_argument(
        '--pretrained',
        type=Path,
        metavar='FILE',
        help='write ImageNet weights of MobileNetV2 there, and no dataset',
    )
    return parser.parse_args()


def main() -> None:
    """Build the dataset, or fetch the weights its detectors start from."""
    args = parse_args()
    if args.pretrained:
        # Here, because it takes torch and mmdet, which scenes do without.
        from studies.toydata.iconcoco.pretrained import write_mobilenetv2

        write_mobilenetv2(args.pretrained, cache=args.cache, force=args.force)
        print(f'{args.pretrained}: written')
        return
    made = build_iconcoco(
        args.out,
        cache=args.cache,
        num_train=args.train,
        num_val=args.val,
        num_tune=args.tune,
        image_size=args.size,
        seed=args.seed,
        force=args.force,
        progress=tqdm,
    )
    state = 'written' if made.built else 'already there, left as it is'
    print(f'{made.root}: {state}')


if __name__ == '__main__':
    main()
