"""Transport over the categories that matter, of a large vocabulary.

    python benchmarks/vocabulary.py [--threads N] [--out DIR]

What `max_categories` saves and what it changes, for the defaults of
`WKDLogitLoss`. Logits are those of a linear classifier whose rows come in
families, on features near the rows of the categories of a batch; the student's
are the teacher's with noise.
"""

import argparse
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from timing import alternate, peak_extra_mib, report
from torch import Tensor

from mmwkd.functional import (
    classifier_interrelation,
    interrelation_to_cost,
    transport_term,
)

FAMILY = 8
# categories of the objects in a batch
PRESENT = 20
DEFAULTS = dict(temperature=2.0, reg=0.1, num_iters=20)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--rois', type=int, default=512)
    parser.add_argument(
        '--sizes', type=int, nargs='+', default=[1204, 13204], metavar='K'
    )
    parser.add_argument(
        '--kept', type=int, nargs='+', default=[64, 256, 512], metavar='M'
    )
    parser.add_argument(
        '--whole-up-to',
        type=int,
        default=1204,
        metavar='K',
        help='largest vocabulary that is also transported whole',
    )
    parser.add_argument('--out', type=Path, default=Path('work_dirs/bench'))
    return parser.parse_args()


class Vocabulary:
    """Logits of R RoIs over K categories of a classifier, and their cost."""

    def __init__(self, num_categories: int, num_rois: int) -> None:
        torch.manual_seed(0)
        families = torch.randn(-(-num_categories // FAMILY), 256)
        rows = families.repeat_interleave(FAMILY, dim=0)[:num_categories]
        rows = F.normalize(rows + torch.randn_like(rows), dim=1)
        present = torch.randperm(num_categories)[:PRESENT]
        self.target = present[torch.randint(len(present), (num_rois,))]
        features = 16 * rows[self.target] + torch.randn(num_rois, 256)
        self.teacher = features @ rows.T
        self.student = self.teacher + torch.randn_like(self.teacher)
        self.cost = interrelation_to_cost(classifier_interrelation(rows), 2.0)

    def differentiate(self, max_categories: int | None) -> tuple[Tensor, ...]:
        student = self.student.clone().requires_grad_()
        value = transport_term(
            student,
            self.teacher,
            self.cost,
            self.target,
            max_categories=max_categories,
            **DEFAULTS,
        )
        value.sum().backward()
        return value.detach(), student.grad


def rows_of(
    num_categories: int, kept: list[int], args: argparse.Namespace
) -> list[dict]:
    vocabulary = Vocabulary(num_categories, args.rois)
    whole = num_categories <= args.whole_up_to
    counts = [*kept, *([None] if whole else [])]
    times = alternate(
        {
            str(count): partial(vocabulary.differentiate, count)
            for count in counts
        },
        args.rounds,
    )
    exact = vocabulary.differentiate(None) if whole else None
    rows = []
    for count in counts:
        value, gradient = vocabulary.differentiate(count)
        row = {
            'K': num_categories,
            'M': count or num_categories,
            'R': args.rois,
            'ms': times[str(count)]['median_ms'],
            'peak MiB': peak_extra_mib(
                partial(vocabulary.differentiate, count)
            ),
        }
        if exact is not None:
            row |= {
                'value / whole': (value.sum() / exact[0].sum()).item(),
                'error of a RoI': (
                    (value - exact[0]).abs().sum() / exact[0].sum()
                ).item(),
                'cosine of gradients': F.cosine_similarity(
                    gradient.flatten(), exact[1].flatten(), dim=0
                ).item(),
            }
        rows.append(row)
    return rows


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    for num_categories in args.sizes:
        kept = [count for count in args.kept if count < num_categories]
        report(
            f'WKD-L over {num_categories} categories, {args.threads} '
            'thread(s)',
            rows_of(num_categories, kept, args),
            args.out / f'vocabulary_{num_categories}.json',
        )


if __name__ == '__main__':
    main()
