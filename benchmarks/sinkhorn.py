"""The error of Sinkhorn's value, and the error of shortcuts.

    python benchmarks/sinkhorn.py [--out DIR]

Three tables on random distributions over 81 categories with the cost of a
random classifier. The first compares it with POT's exact transport
for a range of reg, kappa and iterations. The second does so for a student that
comes near its teacher: too few iterations then move no mass at all. The third
cuts the gradient off after the last few iterations, which would save products
of the backward pass.
"""

import argparse
from pathlib import Path
from typing import Any

import ot
import torch
from timing import report
from torch import Tensor

from mmwkd.functional import (
    classifier_interrelation,
    interrelation_to_cost,
    sinkhorn_cost,
)

NUM_PAIRS, NUM_CATEGORIES = 128, 81
ITERATIONS = (10, 20, 50, 200, 1000)
SETTINGS = ((0.05, 10), (0.05, 30), (0.05, 100), (0.1, 10), (0.1, 20))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/bench'))
    return parser.parse_args()


def problem() -> tuple[Tensor, Tensor, Tensor]:
    """Source and sink (R, K), and an interrelation (K, K), in float64."""
    torch.manual_seed(0)
    p, q = (
        (1.5 * torch.randn(NUM_PAIRS, NUM_CATEGORIES).double()).softmax(1)
        for _ in range(2)
    )
    weight = torch.randn(NUM_CATEGORIES, 16)
    return p, q, classifier_interrelation(weight).double()


def bias_rows() -> list[dict[str, Any]]:
    p, q, interrelation = problem()
    rows = []
    for kappa in (1, 2, 10):
        cost = interrelation_to_cost(interrelation, kappa)
        exact = torch.stack(
            [ot.emd2(a, b, cost) for a, b in zip(p, q, strict=True)]
        )
        for reg in (0.2, 0.1, 0.05, 0.02, 0.005):
            row: dict[str, Any] = {
                'kappa': kappa,
                'reg': reg,
                'max cost / reg': cost.max().item() / reg,
            }
            for n in ITERATIONS:
                value = sinkhorn_cost(
                    p.float(), q.float(), cost.float(), reg=reg, num_iters=n
                )
                bias = (value - exact).mean() / exact.mean()
                row[f'bias % at {n}'] = 100 * bias.item()
            rows.append(row)
    return rows


def closeness_rows() -> list[dict[str, Any]]:
    *_, interrelation = problem()
    cost = interrelation_to_cost(interrelation, 2)
    teacher = 2 * torch.randn(NUM_PAIRS, NUM_CATEGORIES)
    noise = torch.randn(NUM_PAIRS, NUM_CATEGORIES)
    rows = []
    for scale in (2.0, 1.0, 0.5, 0.25):
        for temperature in (1, 2, 4):
            p, q = (
                (logits.double() / temperature).softmax(1)
                for logits in (teacher + scale * noise, teacher)
            )
            exact = torch.stack(
                [ot.emd2(a, b, cost) for a, b in zip(p, q, strict=True)]
            ).mean()
            row: dict[str, Any] = {
                'noise on logits': scale,
                'temperature': temperature,
                'exact cost': exact.item(),
            }
            for reg, n in SETTINGS:
                value = sinkhorn_cost(
                    p.float(), q.float(), cost.float(), reg=reg, num_iters=n
                ).mean()
                row[f'% at reg {reg}, {n}'] = (100 * value / exact).item()
            rows.append(row)
    return rows


def truncation_rows(num_iters: int = 10) -> list[dict[str, Any]]:
    p, q, interrelation = problem()
    cost = interrelation_to_cost(interrelation, 1)
    rows = []
    for reg in (0.05, 0.1, 0.2):
        whole = logit_gradient(p, q, cost, reg, num_iters, num_iters)
        for kept in (1, 2, 3, 5, 7, 9):
            cut = logit_gradient(p, q, cost, reg, num_iters, kept)
            cosine = torch.nn.functional.cosine_similarity(cut, whole)
            rows.append(
                {
                    'reg': reg,
                    'iterations kept': kept,
                    'products saved %': 100
                    * 2
                    * (num_iters - kept)
                    / (4 * num_iters - 1),
                    'relative error': (
                        (cut - whole).norm() / whole.norm()
                    ).item(),
                    'mean cosine': cosine.mean().item(),
                }
            )
    return rows


def logit_gradient(
    p: Tensor, q: Tensor, cost: Tensor, reg: float, num_iters: int, kept: int
) -> Tensor:
    """Gradient by the logits of p through the last ``kept`` iterations."""
    logits = p.log().requires_grad_()
    source = logits.softmax(1)
    kernel = (-cost / reg).exp()
    u = torch.full_like(p, 1 / p.shape[1])
    for step in range(num_iters):
        if step == num_iters - kept:
            u = u.detach()
        v = q / (u @ kernel + 1e-8)
        u = source / (v @ kernel.T + 1e-8)
        if step < num_iters - kept:
            u = u.detach()
    value = (u * (v @ (kernel * cost).T)).sum()
    return torch.autograd.grad(value, logits)[0]


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    report(
        'Bias of the transport cost against exact transport',
        bias_rows(),
        args.out / 'sinkhorn_bias.json',
    )
    report(
        'Share of the exact cost, for students near and far',
        closeness_rows(),
        args.out / 'sinkhorn_closeness.json',
    )
    report(
        'Gradient through the last iterations alone, of 10',
        truncation_rows(),
        args.out / 'sinkhorn_truncation.json',
    )


if __name__ == '__main__':
    main()
