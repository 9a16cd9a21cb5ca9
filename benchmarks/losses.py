"""Time and memory of WKD-L and WKD-F, against their lower bounds.

    python benchmarks/losses.py [--quick] [--threads N] [--out DIR]

WKD-L, forward and backward, is compared in the same run with: the textbook
formulation that builds a (R, K - 1, K - 1) kernel; POT's batched solver on the
same (forward alone); one shared kernel whose iterations autograd unrolls;
plain KL; and the bare matrix products of the algorithm. WKD-F is compared with
the time to read both inputs twice, and to write one gradient.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

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

    def unrolled(self) -> Tensor:
        """Shared kernel, no mass on the target, autograd."""

        def loss(student: Tensor) -> Tensor:
            is_target = F.one_hot(self.target, student.shape[1]) == 1
            p, q = (
                logits.masked_fill(is_target, -torch.inf).softmax(1)
                for logits in (student, self.teacher)
            )
            cost = self.cost + 1e-8
            kernel = (-cost / REG).exp()
            u = (~is_target).to(p) / (p.shape[1] - 1)
            for _ in range(NUM_ITERS):
                v = q / (u @ kernel + 1e-8)
                u = p / (v @ kernel.T + 1e-8)
            return (u * (v @ (kernel * cost).T)).sum(1)

        return self.differentiate(loss)

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
        """2n forward and 2n - 1 backward."""
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
            'unrolled': problem.unrolled,
        }
        # seconds a call, so that few calls say enough
        huge = num_rois * num_categories**2 > 1e9
        slow = alternate(candidates, 2 if huge else rounds)
        if fits:
            slow |= alternate(
                {'textbook': problem.textbook, 'pot': problem.pot},
                2 if large else 3,
            )
            torch.testing.assert_close(
                problem.ours(), problem.textbook(), rtol=1e-3, atol=1e-6
            )
        median = {name: value['median_ms'] for name, value in slow.items()}
        rows.append(
            {
                'R': num_rois,
                'K': num_categories,
                'ours ms': median['ours'],
                'iqr ms': slow['ours']['iqr_ms'],
                'products ms': median['products'],
                'KL ms': median['kl'],
                'autograd ms': median['unrolled'],
                'textbook ms': median.get('textbook'),
                'POT ms': median.get('pot'),
                'ours / products': median['ours'] / median['products'],
                'textbook / ours': median['textbook'] / median['ours']
                if fits
                else None,
            }
        )
    return rows


def logit_memory_rows(sizes: tuple) -> list[dict]:
    rows = []
    for num_rois, num_categories in sizes:
        problem = LogitProblem(num_rois, num_categories)
        fits = num_rois * num_categories**2 <= TEXTBOOK_ENTRIES
        rows.append(
            {
                'R': num_rois,
                'K': num_categories,
                'ours peak MiB': peak_extra_mib(problem.ours),
                'KL peak MiB': peak_extra_mib(problem.kl),
                'autograd peak MiB': peak_extra_mib(problem.unrolled),
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
        student = torch.randn(shape, requires_grad=True)
        teacher = torch.randn(shape)
        for covariance in ('diag', 'full'):
            if covariance == 'full' and name == 'FPN':
                continue  # as on RoIAlign maps, only longer
            for grid in (1, 2, 4, 7):
                times = alternate(
                    FeatureProblem(
                        student, teacher, grid, covariance
                    ).candidates(),
                    2 if covariance == 'full' else rounds,
                )
                median = {k: v['median_ms'] for k, v in times.items()}
                rows.append(
                    {
                        'maps': name,
                        'shape': 'x'.join(map(str, shape)),
                        'covariance': covariance,
                        'grid': grid,
                        'ours ms': median['both'],
                        'iqr ms': times['both']['iqr_ms'],
                        'forward ms': median['forward'],
                        'read both twice ms': median['read'],
                        'write one ms': median['write'],
                        'forward / read': median['forward'] / median['read'],
                        'ours / (read + write)': median['both']
                        / (median['read'] + median['write']),
                    }
                )
    return rows


class FeatureProblem(NamedTuple):
    """Maps of a student and a teacher, and how they are compared."""

    student: Tensor
    teacher: Tensor
    grid: int
    covariance: str

    def candidates(self) -> dict[str, Callable[[], None]]:
        return {
            'both': self.both,
            'forward': self.forward,
            'read': self.read_twice,
            'write': self.write,
        }

    def terms(self) -> tuple[Tensor, Tensor]:
        return gaussian_wasserstein(
            self.student,
            self.teacher,
            grid=self.grid,
            covariance=self.covariance,
        )

    def both(self) -> None:
        self.student.grad = None
        sum(term.mean() for term in self.terms()).backward()

    def forward(self) -> None:
        with torch.no_grad():
            self.terms()

    def read_twice(self) -> None:
        with torch.no_grad():
            for feats in (self.student, self.teacher) * 2:
                feats.sum()

    def write(self) -> None:
        torch.ones_like(self.teacher)


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
        'WKD-L, peak memory beyond the inputs, one thread',
        logit_memory_rows(sizes),
        args.out / 'logit_loss_memory.json',
    )
    report(
        f'WKD-F, forward and backward, float32, {args.threads} thread(s)',
        feature_rows(args.quick, args.rounds),
        args.out / 'feature_loss.json',
    )


if __name__ == '__main__':
    main()
