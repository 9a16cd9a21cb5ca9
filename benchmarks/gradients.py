"""Gradient norms of each loss of a distiller, to choose ``loss_weight``.

    python benchmarks/gradients.py CONFIG [--student FILE] [--batches N]

Losses of other units cannot be compared, what they do to the student can:
for each loss, the norm of its gradient with respect to the student's backbone
and neck, averaged over batches of the config's training data. Nothing is
trained. A student at its start has noisy losses; --student takes a checkpoint
of its baseline, after a few hundred iterations, say.

Of the terms on logits, a second table says which RoIs their gradients are of:
the norm of the gradient with respect to the logits of a RoI, in the mean over
foreground and over background, and what background has of the sum.
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
    student, teacher, target = distiller.compared_logits(step)[:3]
    student = student.detach().requires_grad_()
    loss = distiller.distillation_losses['logit']
    terms = {
        'cross-entropy': F.cross_entropy(student, target, reduction='none'),
        **loss.terms(student, teacher, target),
    }
    background = target == student.shape[1] - 1
    sides = torch.stack([~background, background]).float()  # (2, R)
    sums = {'': sides.sum(dim=1)}
    for name, term in terms.items():
        (grad,) = torch.autograd.grad(term.sum(), student, retain_graph=True)
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
    runs = [gradient_norms(distiller, batch) for batch in batches]
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
    if 'logit' in distiller.places:
        report(
            'gradients at the logits of a RoI',
            roi_rows(distiller, batches),
            args.out.with_name(f'{args.out.stem}_rois{args.out.suffix}'),
        )


if __name__ == '__main__':
    main()
