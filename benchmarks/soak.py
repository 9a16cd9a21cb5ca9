"""Train for long with all features, and watch what may grow.

    python benchmarks/soak.py --teacher CHECKPOINT [--iters 2000] [--out DIR]

The minicoco student is distilled with all three losses, adapters, an averaged
copy of the weights, a schedule of the loss weights, validation and
checkpoints. Every --interval iterations the process is looked at: resident
memory, with and without what was freed and waits to be used again; tensors
that Python holds; hooks on modules; open files; threads; and the median
processor time of an iteration, which other work on the machine disturbs less
than the clock.
"""

import argparse
import gc
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from timing import give_back_memory, report, resident_mib
from torch import Tensor, nn

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
CONFIG = (
    CONFIGS
    / 'minicoco'
    / 'wkd-lf_faster-rcnn_r18-eighth-from-r18-half_fpn_800_minicoco.py'
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--teacher', required=True, help="the minicoco teacher's checkpoint"
    )
    parser.add_argument('--data-root', default='data/minicoco/')
    parser.add_argument('--iters', type=int, default=2000)
    parser.add_argument('--interval', type=int, default=200)
    parser.add_argument('--amp', action='store_true', help='in bfloat16')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/bench'))
    return parser.parse_args()


class Watch(Hook):
    """Look at the process after every ``interval`` iterations.

    Attributes:
        rows: What was measured, in order.
    """

    priority = 'LOWEST'  # so that every other hook is done

    def __init__(self, interval: int) -> None:
        self.interval = interval
        self.rows: list[dict[str, Any]] = []
        self._times: list[float] = []

    def before_train_iter(self, runner: Runner, *args: Any, **_: Any) -> None:
        self._started = time.process_time()

    def after_train_iter(self, runner: Runner, *args: Any, **_: Any) -> None:
        self._times.append(1e3 * (time.process_time() - self._started))
        if self.every_n_train_iters(runner, self.interval):
            self.rows.append(
                {
                    'iteration': runner.iter + 1,
                    **counts(runner.model),
                    'CPU ms': statistics.median(self._times),
                }
            )
            self._times.clear()


def counts(model: nn.Module) -> dict[str, Any]:
    """What a leak would make grow."""
    gc.collect()
    tensors = [
        thing for thing in gc.get_objects() if issubclass(type(thing), Tensor)
    ]
    return {
        'resident MiB': resident_mib(),
        'in use MiB': _in_use_mib(),
        'tensors': len(tensors),
        'hooks': num_hooks(model) + num_hooks(model.teacher),
        'open files': len(os.listdir('/proc/self/fd')),
        'threads': threading.active_count(),
    }


def _in_use_mib() -> float:
    """Resident memory without what was freed and waits to be used again."""
    give_back_memory()
    return resident_mib()


def num_hooks(model: nn.Module) -> int:
    """Hooks on all modules of a model, of every kind that PyTorch knows."""
    return sum(
        len(value)
        for module in model.modules()
        for name, value in vars(module).items()
        if name.endswith('_hooks')
    )


def run_config(args: argparse.Namespace, work_dir: str) -> Config:
    """The config of the run, with everything on."""
    cfg = Config.fromfile(CONFIG)
    cfg.model.neck_loss = cfg.neck_loss
    cfg.model.teacher.checkpoint = args.teacher
    cfg.model.teacher.config = str(CONFIGS.parent / cfg.model.teacher.config)
    cfg.work_dir = work_dir
    cfg.custom_hooks = [
        dict(type='EMAHook', momentum=0.001),
        dict(
            type='DistillationWeightHook',
            warmup=100,
            stop=args.iters // 2,
            by_epoch=False,
        ),
    ]
    cfg.train_cfg.update(
        max_iters=args.iters, val_interval=max(1, args.iters // 4)
    )
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.data_root = args.data_root
    cfg.val_evaluator.ann_file = str(
        Path(args.data_root) / 'annotations' / 'instances_val.json'
    )
    cfg.param_scheduler = cfg.param_scheduler[:1]  # warm up, then go on
    if args.amp:
        cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype='bfloat16')
    cfg.default_hooks.checkpoint.type = 'SafeCheckpointHook'
    cfg.log_level = 'WARNING'
    return cfg


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    register_all_modules()
    watch = Watch(args.interval)
    with tempfile.TemporaryDirectory() as work_dir:
        runner = Runner.from_cfg(run_config(args, work_dir))
        runner.register_hook(watch)
        runner.train()
    report(
        f'{args.iters} iterations of minicoco with everything on',
        watch.rows,
        args.out / 'soak_minicoco.json',
    )


if __name__ == '__main__':
    main()
