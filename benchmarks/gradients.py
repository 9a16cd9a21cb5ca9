"""Gradient norms of each loss of a distiller, to choose ``loss_weight``.

    python benchmarks/gradients.py CONFIG [--student FILE] [--batches N]

Losses of other units cannot be compared, what they do to the student can:
for each loss, the norm of its gradient with respect to the student's backbone
and neck, averaged over batches of the config's training data. Nothing is
trained. A student at its start has noisy losses; --student takes a checkpoint
of its baseline, after a few hundred iterations, say.
"""

import argparse
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger
from mmengine.runner import Runner, load_checkpoint
from timing import report

import mmwkd  # noqa: F401  registers the components
from mmwkd.distillers import DetectorDistiller


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', type=Path)
    parser.add_argument('--student', help="checkpoint of the student's own")
    parser.add_argument('--batches', type=int, default=8)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/bench/gradients.json')
    )
    return parser.parse_args()


def gradient_norms(
    distiller: DetectorDistiller, batch: dict[str, Any]
) -> dict[str, tuple[float, float]]:
    """Value and gradient norm of each loss on one batch."""
    data = distiller.data_preprocessor(batch, training=True)
    student = distiller.student
    shared = [
        parameter
        for name, parameter in student.named_parameters()
        if name.startswith(('backbone.', 'neck.')) and parameter.requires_grad
    ]
    norms: dict[str, tuple[float, float]] = {}
    for name, loss in distiller(**data, mode='loss').items():
        if 'loss' not in name:
            continue
        if isinstance(loss, (list, tuple)):  # one of each level
            loss = sum(loss)
        grads = torch.autograd.grad(
            loss, shared, retain_graph=True, allow_unused=True
        )
        norm = torch.stack([g.norm() for g in grads if g is not None]).norm()
        norms[name] = float(loss.detach()), float(norm)
    return norms


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    register_all_modules()
    MMLogger.get_instance('mmwkd', log_level='ERROR')
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    torch.manual_seed(0)
    distiller = MODELS.build(cfg.model)
    distiller.init_weights()
    if args.student:
        load_checkpoint(distiller.student, args.student, strict=True)
    distiller.to('cuda' if torch.cuda.is_available() else 'cpu').train()
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    runs = [
        gradient_norms(distiller, batch)
        for batch in islice(loader, args.batches)
    ]
    means = {
        name: torch.tensor([run[name] for run in runs]).mean(dim=0).tolist()
        for name in runs[0]
    }
    rows = [
        {
            'loss': name,
            'value': value,
            'gradient norm': norm,
            'of loss_cls': norm / means['loss_cls'][1],
        }
        for name, (value, norm) in means.items()
    ]
    report(f'{args.config.stem}, {len(runs)} batches', rows, args.out)


if __name__ == '__main__':
    main()
