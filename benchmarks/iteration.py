"""Time of a training iteration of configs, each on its own data.

    python benchmarks/iteration.py CONFIG [CONFIG ...] [--cfg-options K=V ...]

The first config is the reference, such as the student alone: the last column
says how many of its iterations take as long as one of another config. Batches
are loaded before; forward, backward and the optimizer's step are timed.
"""

import argparse
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from timing import alternate, report

import mmwkd  # noqa: F401  registers the components
from mmwkd.distillers import DetectorDistiller


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('configs', type=Path, nargs='+')
    parser.add_argument('--rounds', type=int, default=31)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help="options of the distillers' configs",
    )
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/bench/iteration.json')
    )
    return parser.parse_args()


def iteration(path: Path, options: dict[str, Any]) -> Callable[[], Any]:
    """A function that trains a config's model on its next batch."""
    cfg = Config.fromfile(path)
    if MODELS.get(cfg.model.type) is DetectorDistiller:
        cfg.merge_from_dict(options)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.to('cuda' if torch.cuda.is_available() else 'cpu').train()
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    for group in optim_wrapper.optimizer.param_groups:
        group['lr'] *= 1e-3  # as at the start of a warm-up
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    batches = cycle(list(islice(loader, 4)))
    return lambda: model.train_step(next(batches), optim_wrapper)


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    register_all_modules()
    MMLogger.get_instance('mmwkd', log_level='ERROR')
    times = alternate(
        {
            path.stem: iteration(path, args.cfg_options)
            for path in args.configs
        },
        args.rounds,
    )
    reference = times[args.configs[0].stem]['median_ms']
    rows = [
        {
            'config': name,
            'ms': value['median_ms'],
            'iqr ms': value['iqr_ms'],
            'times the first': value['median_ms'] / reference,
        }
        for name, value in times.items()
    ]
    report('A training iteration', rows, args.out)


if __name__ == '__main__':
    main()
