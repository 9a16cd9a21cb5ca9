"""Estimate how related a teacher's categories are, as the cost of WKD-L.

An interrupted run is continued by the same command. On several GPUs:
torchrun --nproc_per_node 8 tools/estimate_cost_matrix.py ...
"""

import argparse

from mmdet.utils import register_all_modules
from mmengine.config import DictAction
from mmengine.dist import get_rank
from tqdm import tqdm

import mmwkd  # noqa: F401  registers the components
from mmwkd.costs.collect import CollectOptions
from mmwkd.costs.estimate import (
    ESTIMATORS,
    EstimateOptions,
    write_cost_matrix,
)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        'config', help='config of the teacher, or of a distillation run'
    )
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help="weights of the teacher; may be left out where a run's config "
        'names them',
    )
    parser.add_argument('--out', required=True, help='file to write, .npz')
    parser.add_argument(
        '--estimator',
        choices=ESTIMATORS,
        default=EstimateOptions.estimator,
        help='formula',
    )
    parser.add_argument(
        '--tensor',
        choices=['fc', 'logits', 'roi'],
        default=CollectOptions.tensor,
        help='features: input of the classifier, its output, or pooled '
        'RoIAlign maps',
    )
    parser.add_argument(
        '--split',
        choices=['train', 'val'],
        default=CollectOptions.split,
        help='images',
    )
    parser.add_argument(
        '--cap',
        type=int,
        default=EstimateOptions.cap,
        help='samples kept of each category, for paired_cka',
    )
    parser.add_argument(
        '--min-samples',
        type=int,
        default=EstimateOptions.min_samples,
        help='categories with fewer take the relations of their classifier '
        'weights',
    )
    parser.add_argument(
        '--min-size',
        type=float,
        default=CollectOptions.min_size,
        help='smallest side of a box, in pixels that the teacher sees',
    )
    parser.add_argument(
        '--negatives',
        type=int,
        default=CollectOptions.negatives,
        help='background boxes of each image',
    )
    parser.add_argument(
        '--max-images', type=int, help='images to use, drawn at random'
    )
    parser.add_argument(
        '--memory-limit',
        type=float,
        default=EstimateOptions.memory_limit / 2**20,
        metavar='MIB',
        help='memory of the statistics',
    )
    parser.add_argument(
        '--batch-size',
        type=int,
        default=CollectOptions.batch_size,
        help='images',
    )
    parser.add_argument(
        '--num-workers',
        type=int,
        default=CollectOptions.num_workers,
        help='processes that load images',
    )
    parser.add_argument(
        '--seed', type=int, default=CollectOptions.seed, help='seed'
    )
    parser.add_argument('--device', help='such as cuda:0 or cpu')
    parser.add_argument(
        '--force', action='store_true', help='replace an existing file'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='changes to the config',
    )
    return parser.parse_args()


def main() -> None:
    """Estimate and write the matrix."""
    args = parse_args()
    register_all_modules()
    try:
        matrix = write_cost_matrix(
            args.config,
            args.checkpoint,
            args.out,
            options=EstimateOptions(
                estimator=args.estimator,
                cap=args.cap,
                min_samples=args.min_samples,
                memory_limit=int(args.memory_limit * 2**20),
            ),
            collect=CollectOptions(
                tensor=args.tensor,
                split=args.split,
                min_size=args.min_size,
                negatives=args.negatives,
                max_images=args.max_images,
                seed=args.seed,
                batch_size=args.batch_size,
                num_workers=args.num_workers,
            ),
            cfg_options=args.cfg_options,
            device=args.device,
            force=args.force,
            progress=tqdm,
        )
    except (ValueError, FloatingPointError, OSError) as error:
        raise SystemExit(f'error: {error}') from error
    if get_rank() == 0:
        print(f'{args.out}: {len(matrix.categories)} categories')


if __name__ == '__main__':
    main()
