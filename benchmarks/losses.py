"""Time and memory of WKD-L and WKD-F, against what cannot be avoided.

    python benchmarks/losses.py [--quick] [--threads N] [--out DIR]

WKD-L, forward and backward, is compared in the same run with: the textbook
formulation that builds a (R, K - 1, K - 1) kernel; POT's batched solver on the
same (forward alone); plain KL; and the bare matrix products of the algorithm.
WKD-F is compared with the time to read both inputs twice.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import ot
import torch
import torch.nn.functional as F
from timing import alternate, peak_extra_mib, report
from torch import Tensor

from mmwkd.functional import (
    classifier_interrelation,
    gaussian_wasserstein,
    interrelation_to_cost,
    transport_term,
)

LOGIT_SIZES = (
    (512, 81), (1024, 81), (4096, 81),
    (512, 366), (1024, 366), (1024, 1204), (4096, 1204),
)  # fmt: skip
QUICK_LOGIT_SIZES = ((512, 81), (1024, 81), (1024, 366))
ROI_MAPS = (1024, 256, 7, 7)
FPN_MAPS = (2, 256, 200, 336)
# the textbook kernel and its history would not fit far beyond this
TEXTBOOK_ENTRIES = 1024 * 366 * 366
NUM_ITERS = 10
REG = 0.05


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--quick', action='store_true', help='fewer sizes')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/bench'))
    return parser.parse_args()


class LogitProblem:
    """Random logits of R RoIs over K categories, and their cost."""

    def __init__(self, num_rois: int, num_categories: int) -> None:
        torch.manual_seed(0)
        self.student = 2 * torch.randn(num_rois, num_categories)
        self.teacher = 2 * torch.randn(num_rois, num_categories)
        self.target = torch.randint(num_categories, (num_rois,))
        weight = torch.randn(num_categories, 64)
        self.cost = interrelation_to_cost(classifier_interrelation(weight), 1)

    def differentiate(self, loss: Callable[[Tensor], Tensor]) -> Tensor:
        student = self.student.clone().requires_grad_()
        loss(student).mean().backward()
        return student.grad

    def ours(self) -> Tensor:
        return self.differentiate(
            lambda student: transport_term(
                student, self.teacher, self.cost, self.target
            )
        )

    def without_target(self, values: Tensor) -> Tensor:
        """Drop each row's target, (R, K) to (R, K - 1)."""
        keep = F.one_hot(self.target, values.shape[1]) == 0
        return values[keep].view(len(values), -1)

    def costs_without_target(self) -> Tensor:
        """Cut each target's row and column out, (R, K - 1, K - 1)."""
        others = self.without_target(
            torch.arange(len(self.cost)).expand_as(self.student)
        )
        return self.cost[others[:, :, None], others[:, None, :]]

    def textbook(self) -> Tensor:
        def loss(student: Tensor) -> Tensor:
            p = self.without_target(student).softmax(1)
            q = self.without_target(self.teacher).softmax(1)
            cost = self.costs_without_target() + 1e-8
            kernel = (-cost / REG).exp()
            u = torch.full_like(p, 1 / p.shape[1])
            for _ in range(NUM_ITERS):
                v = q / ((kernel.mT @ u[..., None]).squeeze(2) + 1e-8)
                u = p / ((kernel @ v[..., None]).squeeze(2) + 1e-8)
            plan = u[:, :, None] * kernel * v[:, None, :]
            return (plan * cost).sum((1, 2))

        return self.differentiate(loss)

    def pot(self) -> Tensor:
        p = self.without_target(self.student).softmax(1)
        q = self.without_target(self.teacher).softmax(1)
        return ot.solve_batch(
            self.costs_without_target(),
            reg=REG,
            a=p,
            b=q,
            max_iter=NUM_ITERS,
            tol=0,
            method='sinkhorn',
            grad='detach',
        ).value

    def kl(self) -> Tensor:
        q = self.without_target(self.teacher).softmax(1)
        return self.differentiate(
            lambda student: F.kl_div(
                self.without_target(student).log_softmax(1),
                q,
                reduction='none',
            ).sum(1)
        )

    def products(self) -> None:
        """2n forward (the first is a gather), 2n - 1 backward."""
        for _ in range(4 * NUM_ITERS - 1):
            self.student @ self.cost


def logit_rows(sizes: tuple, rounds: int) -> list[dict]:
    rows = []
    for num_rois, num_categories in sizes:
        problem = LogitProblem(num_rois, num_categories)
        fits = num_rois * num_categories**2 <= TEXTBOOK_ENTRIES
        large = num_rois * num_categories**2 > 1024 * 100**2
        candidates = {
            'ours': problem.ours,
            'products': problem.products,
            'kl': problem.kl,
        }
        slow = alternate(candidates, rounds)
        if fits:
            slow |= alternate(
                {'textbook': problem.textbook, 'pot': problem.pot},
                2 if large else 3,
            )
            torch.testing.assert_close(
                problem.ours(), problem.textbook(), rtol=1e-3, atol=1e-6
            )
        ours = slow['ours']['median_ms']

        def times(name: str, slow: dict = slow) -> float | None:
            return slow[name]['median_ms'] if name in slow else None

        rows.append(
            {
                'R': num_rois,
                'K': num_categories,
                'ours ms': ours,
                'iqr ms': slow['ours']['iqr_ms'],
                'products ms': times('products'),
                'ours / products': ours / slow['products']['median_ms'],
                'kl ms': times('kl'),
                'textbook ms': times('textbook'),
                'textbook / ours': times('textbook') / ours if fits else None,
                'POT forward ms': times('pot'),
                'ours peak MiB': peak_extra_mib(problem.ours),
                'textbook peak MiB': peak_extra_mib(problem.textbook)
                if fits
                else None,
            }
        )
    return rows


def feature_rows(quick: bool, rounds: int) -> list[dict]:
    rows = []
    shapes = {'RoIAlign': ROI_MAPS} | ({} if quick else {'FPN': FPN_MAPS})
    for name, shape in shapes.items():
        torch.manual_seed(0)
        student, teacher = torch.randn(shape), torch.randn(shape)

        def read_twice(maps: tuple = (student, teacher)) -> None:
            for _ in range(2):
                for feats in maps:
                    feats.sum()

        for covariance in ('diag', 'full'):
            for grid in (1, 2, 4, 7):
                if covariance == 'full' and quick and grid not in (1, 4):
                    continue

                def ours(
                    maps: tuple = (student, teacher),
                    grid: int = grid,
                    covariance: str = covariance,
                ) -> None:
                    feats = maps[0].clone().requires_grad_()
                    terms = gaussian_wasserstein(
                        feats, maps[1], grid=grid, covariance=covariance
                    )
                    sum(term.mean() for term in terms).backward()

                times = alternate(
                    {'ours': ours, 'read': read_twice},
                    2 if covariance == 'full' else rounds,
                )
                median = times['ours']['median_ms']
                rows.append(
                    {
                        'maps': name,
                        'shape': 'x'.join(map(str, shape)),
                        'covariance': covariance,
                        'grid': grid,
                        'ours ms': median,
                        'iqr ms': times['ours']['iqr_ms'],
                        'read both twice ms': times['read']['median_ms'],
                        'ours / read': median / times['read']['median_ms'],
                    }
                )
    return rows


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    sizes = QUICK_LOGIT_SIZES if args.quick else LOGIT_SIZES
    report(
        f'WKD-L, forward and backward, float32, {args.threads} thread(s)',
        logit_rows(sizes, args.rounds),
        args.out / 'logit_loss.json',
    )
    report(
        f'WKD-F, forward and backward, float32, {args.threads} thread(s)',
        feature_rows(args.quick, args.rounds),
        args.out / 'feature_loss.json',
    )


if __name__ == '__main__':
    main()
