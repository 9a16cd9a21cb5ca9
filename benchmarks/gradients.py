"""Which RoIs the gradients of losses on logits come from.

    python benchmarks/gradients.py CONFIG [--student FILE] [--batches N]

For each term, the norm of its gradient with respect to the logits of a RoI,
in the mean over foreground and over background, and what background has of
the sum, over batches of the config's training data. Nothing is trained.
--student takes a checkpoint of the student's baseline.
"""

import argparse
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger
from mmengine.runner import Runner, load_checkpoint
from timing import report
from torch import Tensor

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
        '--out', type=Path, default=Path('work_dirs/bench/gradients_rois.json')
    )
    return parser.parse_args()


def roi_norms(
    distiller: DetectorDistiller, batch: dict[str, Any]
) -> dict[str, Tensor]:
    """Gradient norms at the logits, summed over foreground and background.

    Returns:
        The sums (2,) of each term and of the head's cross-entropy, and under
        ``''`` the numbers of RoIs.
    """
    data = distiller.data_preprocessor(batch, training=True)
    _, step = distiller.observe(data['inputs'], data['data_samples'])
    rows = distiller.compared_logits(step)
    logits = rows.student_logits.detach().requires_grad_()
    target = rows.target
    terms = {
        'cross-entropy': F.cross_entropy(logits, target, reduction='none'),
        **distiller.distillation_losses['logit'].terms(
            logits, rows.teacher_logits, target
        ),
    }
    background = target == logits.shape[1] - 1
    sides = torch.stack([~background, background]).float()  # (2, R)
    sums = {'': sides.sum(dim=1)}
    for name, term in terms.items():
        (grad,) = torch.autograd.grad(term.sum(), logits, retain_graph=True)
        sums[name] = sides @ grad.norm(dim=1)
    return sums


def roi_rows(distiller: DetectorDistiller, batches: list[Any]) -> list[Any]:
    """Rows of the table of RoIs, over all batches."""
    runs = [roi_norms(distiller, batch) for batch in batches]
    total = {name: sum(run[name] for run in runs) for name in runs[0]}
    counts = total.pop('')
    return [
        {
            'term': name,
            'foreground RoI': float(sums[0] / counts[0]),
            'background RoI': float(sums[1] / counts[1]),
            'share of background': float(sums[1] / sums.sum()),
            'background RoIs': float(counts[1] / counts.sum()),
        }
        for name, sums in total.items()
    ]


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
    batches = list(islice(loader, args.batches))
    report(
        f'{args.config.stem}, {len(batches)} batches',
        roi_rows(distiller, batches),
        args.out,
    )


if __name__ == '__main__':
    main()
