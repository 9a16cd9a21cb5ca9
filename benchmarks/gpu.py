"""All measurements that need a GPU, in one run.

    python benchmarks/gpu.py --minutes 25 --out FILE.json
    python benchmarks/gpu.py --dry-run --out FILE.json

Parts run in the order of their worth, each within its share of the time, and
every row is written as soon as it is known: a run that is cut off is worth
what it has measured. A row that fails says why, and the others go on. With
--dry-run every part runs at toy size, on a CPU too.
"""

import argparse
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from timing import alternate, machine, peak_extra_mib
from torch import Tensor

import mmwkd.functional as WF

DTYPES = {
    'float32': torch.float32,
    'float16': torch.float16,
    'bfloat16': torch.bfloat16,
}
# batch 2 of 800 x 1333, padded to 32, on P2, and 512 RoIs an image
LOGITS = {'K=81': (1024, 81), 'K=1204': (1024, 1204)}
MAPS = {'P2': (2, 256, 200, 336), 'RoIs': (1024, 256, 7, 7)}
Row = dict[str, Any]
Run = Callable[[], Any]


class Setting(NamedTuple):
    """Where parts run, and how large."""

    device: str
    toy: bool

    @property
    def rounds(self) -> int:
        """Timed calls of each candidate."""
        return 2 if self.toy else 20


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--minutes', type=float, default=25.0)
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/bench/gpu.json')
    )
    parser.add_argument('--dry-run', action='store_true')
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=[*PARTS])
    args = parser.parse_args()
    if not (args.dry_run or torch.cuda.is_available()):
        parser.error('no GPU is in sight; --dry-run needs none')
    return args


def on_logits(term: Callable, shape: tuple[int, int]) -> list[Tensor]:
    """Arguments of a term on logits, in float64."""
    student, teacher = 2 * torch.randn(2, *shape, dtype=torch.float64)
    target = torch.randint(shape[1], shape[:1])
    points = torch.rand(shape[1], 3, dtype=torch.float64)
    cost = 0.8 * (1 - (-torch.cdist(points, points)).exp())
    if term is WF.transport_term:
        return [student, teacher, cost, target]
    if term is WF.kd_term:
        return [student, teacher]
    return [student, teacher, target]


def terms(setting: Setting) -> Iterator[tuple[str, Callable, list[Tensor]]]:
    """Every loss's term, with its arguments in float64 on the CPU."""
    torch.manual_seed(0)
    rows, positions = (8, 5) if setting.toy else (1024, 256)
    for name, shape in LOGITS.items():
        shape = (rows, 9) if setting.toy else shape
        for term in (WF.transport_term, WF.kd_term, WF.dkd_terms):
            yield f'{term.__name__} {name}', term, on_logits(term, shape)
    options = {
        f'gaussian_wasserstein {covariance} {grid}': partial(
            WF.gaussian_wasserstein, covariance=covariance, grid=grid
        )
        for covariance, grid in (('diag', 1), ('diag', 4), ('full', 1))
    } | {
        term.__name__: term
        for term in (
            WF.fitnet_term,
            WF.pkd_term,
            WF.cwd_term,
        )
    }
    for place, shape in MAPS.items():
        shape = (2, positions, 7, 9) if setting.toy else shape
        for name, term in options.items():
            maps = torch.randn(2, *shape, dtype=torch.float32).double()
            yield f'{name} on {place}', term, [*maps]


def placed(arguments: list[Tensor], dtype: torch.dtype, device: str) -> list:
    """Arguments on a device, floating ones in a type; the first a leaf."""
    first, *others = (
        each.to(device, dtype) if each.is_floating_point() else each.to(device)
        for each in arguments
    )
    return [first.detach().requires_grad_(), *others]


def differentiate(term: Callable, arguments: list[Tensor]) -> list[Tensor]:
    """Sum of a term and the student's gradient."""
    arguments[0].grad = None
    value = term(*arguments)
    total = sum(
        v.sum() for v in (value if isinstance(value, tuple) else [value])
    )
    total.backward()
    return [total.detach(), arguments[0].grad]


@contextlib.contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision('high' if allowed else 'highest')
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def agreement(setting: Setting) -> Iterator[Row]:
    """Values and gradients on the device against float64 on the CPU."""
    for name, term, arguments in terms(setting):
        if arguments[0].numel() > 2e7:
            continue  # float64 on a CPU would take the time of all else
        for kind, dtype in DTYPES.items():
            exact = [
                each.to(dtype).double() if each.is_floating_point() else each
                for each in arguments
            ]
            expected = differentiate(term, placed(exact, torch.float64, 'cpu'))
            for allowed in (False, True) if kind == 'float32' else (False,):
                with tf32(allowed):
                    actual = differentiate(
                        term, placed(arguments, dtype, setting.device)
                    )
                errors = [
                    float((a.cpu().double() - e).abs().max() / e.abs().max())
                    for a, e in zip(actual, expected, strict=True)
                ]
                yield {
                    'term': name,
                    'dtype': 'TF32 allowed' if allowed else kind,
                    'error of the value': errors[0],
                    'error of the gradient': errors[1],
                }


def launches(run: Run) -> int | None:
    """Kernels that a call starts on a GPU."""
    if not torch.cuda.is_available():
        return None
    activity = torch.profiler.ProfilerActivity.CUDA
    with torch.profiler.profile(activities=[activity]) as profile:
        run()
        torch.cuda.synchronize()
    return sum(
        event.count
        for event in profile.key_averages()
        if event.device_type == torch.autograd.DeviceType.CUDA
    )


def losses(setting: Setting) -> Iterator[Row]:
    """Time, kernels and memory of every term, forward and backward."""
    for name, term, arguments in terms(setting):
        for kind, dtype in DTYPES.items():
            run = partial(
                differentiate, term, placed(arguments, dtype, setting.device)
            )
            times = alternate({'run': run}, setting.rounds)['run']
            yield {
                'term': name,
                'dtype': kind,
                **times,
                'launches': launches(run),
                'peak MiB': peak_extra_mib(run),
            }


def graphs(setting: Setting) -> Iterator[Row]:
    """Whether a term and its gradient can be captured and replayed."""
    for name, term, arguments in terms(setting):
        arguments = placed(arguments, torch.float32, setting.device)
        run = partial(differentiate, term, arguments)
        expected = run()
        if not torch.cuda.is_available():
            yield {'term': name, 'captured': None}
            continue
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            run()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                total = run()[0]
            graph.replay()
            same = bool(torch.isclose(total, expected[0], rtol=1e-4))
            yield {'term': name, 'captured': True, 'same value': same}
        except RuntimeError as error:
            yield {'term': name, 'captured': False, 'error': str(error)[:300]}


def steps(setting: Setting) -> Iterator[Row]:
    """Steps of real pairs against their parts, with and without autocast."""
    import step
    from mmdet.utils import register_all_modules

    register_all_modules()
    pairs = ['tiny'] if setting.toy else [*step.REAL_PAIRS]
    counts = [2] if setting.toy else [2, 8, 16]
    size = (64, 64) if setting.toy else (800, 1333)
    for count in counts:
        for pair in pairs:
            for name in ('wkd-l',) if setting.toy else step.LOSSES:
                work = step.Step(step.build(name, pair), size, count)
                # mmcv's operators on a CPU lack half precision
                for amp in (
                    (False,) if setting.device == 'cpu' else (False, True)
                ):
                    parts = {
                        part: partial(autocast, run, setting.device, amp)
                        for part, run in (
                            ('whole', work.whole),
                            ('student', work.student),
                            ('teacher', work.teacher),
                        )
                    }
                    times = alternate(parts, 2 if setting.toy else 7)
                    yield {
                        'pair': pair,
                        'losses': name,
                        'images': count,
                        'amp': amp,
                        **{
                            f'{part} ms': value['median_ms']
                            for part, value in times.items()
                        },
                        'whole peak MiB': peak_extra_mib(parts['whole']),
                    }


def autocast(run: Run, device: str, enabled: bool) -> None:
    with torch.autocast(device, enabled=enabled):
        run()


PARTS: dict[str, tuple[Callable[[Setting], Iterator[Row]], float]] = {
    # and its share of the time
    'agreement': (agreement, 0.15),
    'losses': (losses, 0.25),
    'graphs': (graphs, 0.1),
    'steps': (steps, 0.5),
}


def measure(name: str, setting: Setting, seconds: float) -> Iterator[Row]:
    """Rows of a part, until its time is over or it fails."""
    started = time.monotonic()
    try:
        for row in PARTS[name][0](setting):
            yield row
            if time.monotonic() - started > seconds:
                yield {'error': f'cut off after {seconds:.0f} s'}
                return
    except Exception as error:
        yield {'error': f'{type(error).__name__}: {error}'[:1000]}


def main() -> None:
    args = parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    setting = Setting(device, toy=args.dry_run)
    results: dict[str, Any] = {'machine': machine(), 'toy': args.dry_run}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for name in args.parts:
        results[name] = []
        for row in measure(name, setting, 60 * args.minutes * PARTS[name][1]):
            results[name].append(row)
            args.out.write_text(json.dumps(results, indent=1))
            print(name, row, flush=True)


if __name__ == '__main__':
    main()
