"""All measurements that need a GPU, in one run.

    python benchmarks/gpu.py --minutes 25 --out FILE.json
    python benchmarks/gpu.py --dry-run --out FILE.json

Parts run in the order of their worth, each within its share of the time that
is left, and every row is written as soon as it is known: a run that is cut
off is worth what it has measured. A row that fails says why, and the others
go on. With --dry-run every part runs at toy size, on a CPU too.

Where mmcv has no compiled operators, those of torchvision stand in for them.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple
from xml.etree import ElementTree

import mmcv_stand_in
import pytest

WITHOUT_OPERATORS = mmcv_stand_in.install()

import step  # noqa: E402
import torch  # noqa: E402
from gpu_ranks import compare_ranks  # noqa: E402
from timing import alternate, machine, peak_extra_mib  # noqa: E402
from torch import Tensor  # noqa: E402

import mmwkd.functional as WF  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
DTYPES = {
    'float32': torch.float32,
    'float16': torch.float16,
    'bfloat16': torch.bfloat16,
}
# batch 2 of 800 x 1333, padded to 32, on P2, and 512 RoIs an image
LOGITS = {'K=81': (1024, 81), 'K=1204': (1024, 1204)}
MAPS = {'P2': (2, 256, 200, 336), 'RoIs': (1024, 256, 7, 7)}
TOY_LOGITS = {'K=9': (8, 9)}
TOY_MAPS = {'maps': (2, 5, 7, 9)}
Row = dict[str, Any]
Run = Callable[[], Any]
# what a row is about, and what measures its figures
Case = tuple[Row, Callable[[], Row]]


class Setting(NamedTuple):
    """Where parts run, how large, and where they leave files."""

    device: str
    toy: bool
    folder: Path

    @property
    def rounds(self) -> int:
        """Timed calls of each candidate."""
        return 2 if self.toy else 20

    @property
    def step_rounds(self) -> int:
        """Timed steps of each candidate."""
        return 2 if self.toy else 9

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of images."""
        return (64, 64) if self.toy else (800, 1333)

    @property
    def pairs(self) -> Sequence[str]:
        """Detectors whose steps are timed."""
        return ['tiny'] if self.toy else [*step.REAL_PAIRS]


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
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
    args = parser.parse_args(argv)
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
    for name, shape in (TOY_LOGITS if setting.toy else LOGITS).items():
        for term in (
            WF.transport_term,
            WF.target_term,
            WF.kd_term,
            WF.dkd_terms,
        ):
            yield f'{term.__name__} {name}', term, on_logits(term, shape)
    options = {
        f'gaussian_wasserstein {covariance} {grid}': partial(
            WF.gaussian_wasserstein, covariance=covariance, grid=grid
        )
        for covariance, grid in (('diag', 1), ('diag', 4), ('full', 1))
    } | {
        term.__name__: term
        for term in (WF.fitnet_term, WF.pkd_term, WF.cwd_term)
    }
    for place, shape in (TOY_MAPS if setting.toy else MAPS).items():
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


def agreement(setting: Setting) -> Iterator[Case]:
    """Values and gradients on the device against float64 on the CPU."""
    for name, term, arguments in terms(setting):
        if arguments[0].numel() > 2e7:
            continue  # float64 on a CPU would take the time of all else
        for kind, dtype in DTYPES.items():
            for allowed in (False, True) if kind == 'float32' else (False,):
                yield (
                    {'term': name, 'dtype': 'TF32' if allowed else kind},
                    partial(errors, term, arguments, dtype, allowed, setting),
                )


def errors(
    term: Callable,
    arguments: list[Tensor],
    dtype: torch.dtype,
    allowed: bool,
    setting: Setting,
) -> Row:
    exact = [
        each.to(dtype).double() if each.is_floating_point() else each
        for each in arguments
    ]
    expected = differentiate(term, placed(exact, torch.float64, 'cpu'))
    with tf32(allowed):
        actual = differentiate(term, placed(arguments, dtype, setting.device))
    value, gradient = (
        float((a.cpu().double() - e).abs().max() / e.abs().max())
        for a, e in zip(actual, expected, strict=True)
    )
    return {'error of the value': value, 'error of the gradient': gradient}


def tests(setting: Setting) -> Iterator[Case]:
    """The suite's tests of functions and losses, on the device."""
    for path in (
        ['tests/test_functional/test_box.py']
        if setting.toy
        else ['tests/test_functional', 'tests/test_losses']
    ):
        yield {'tests': path}, partial(run_tests, path, setting)


def run_tests(path: str, setting: Setting) -> Row:
    report = setting.folder / 'tests.xml'
    arguments = [
        '-q',
        '-p',
        'on_device',
        f'--junitxml={report}',
        str(ROOT / path),
    ]
    os.environ['TEST_DEVICE'] = setting.device
    if setting.toy:  # here: another process would import all of it again
        pytest.main(arguments)
    else:
        places = os.pathsep.join([str(ROOT), str(ROOT / 'benchmarks')])
        subprocess.run(
            [sys.executable, '-m', 'pytest', *arguments],
            env=os.environ | {'PYTHONPATH': places},
        )
    (suite,) = ElementTree.parse(report).getroot()
    broken = {
        f'{case.get("classname")}.{case.get("name")}': outcome.get('message')
        for case in suite
        for outcome in (*case.iter('failure'), *case.iter('error'))
    }
    return {
        'run': int(suite.get('tests', 0)),
        'skipped': int(suite.get('skipped', 0)),
        'failed': broken,
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


def losses(setting: Setting) -> Iterator[Case]:
    """Time, kernels and memory of every term, forward and backward."""
    for name, term, arguments in terms(setting):
        for kind, dtype in DTYPES.items():
            yield (
                {'term': name, 'dtype': kind},
                partial(figures, term, arguments, dtype, setting),
            )


def figures(
    term: Callable,
    arguments: list[Tensor],
    dtype: torch.dtype,
    setting: Setting,
) -> Row:
    run = partial(
        differentiate, term, placed(arguments, dtype, setting.device)
    )
    return {
        **alternate({'run': run}, setting.rounds)['run'],
        'launches': launches(run),
        # of a fork on a CPU, which takes longer than all else here
        'peak MiB': None if setting.toy else peak_extra_mib(run),
    }


def graphs(setting: Setting) -> Iterator[Case]:
    """Whether a term and its gradient can be captured and replayed."""
    for name, term, arguments in terms(setting):
        yield {'term': name}, partial(replayed, term, arguments, setting)


def replayed(term: Callable, arguments: list[Tensor], setting: Setting) -> Row:
    run = partial(
        differentiate, term, placed(arguments, torch.float32, setting.device)
    )
    expected = run()[0]
    if setting.device == 'cpu':
        return {'captured': None}
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        run()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        total = run()[0]
    times = alternate({'launched': run, 'replayed': graph.replay}, 20)
    return {
        'captured': True,
        'same value': bool(torch.isclose(total, expected, rtol=1e-4)),
        **{f'{name} ms': each['median_ms'] for name, each in times.items()},
    }


def steps(setting: Setting) -> Iterator[Case]:
    """Steps of real pairs against their parts, with and without autocast."""
    for count in (1,) if setting.toy else (2, 16, 8, 4):
        for pair in setting.pairs:
            for name in ('wkd-l',) if setting.toy else step.LOSSES:
                # mmcv's operators on a CPU lack half precision
                for amp in (
                    (False,) if setting.device == 'cpu' else (False, True)
                ):
                    labels = {
                        'pair': pair,
                        'losses': name,
                        'images': count,
                        'amp': amp,
                    }
                    yield labels, partial(step_figures, labels, setting)


def step_figures(labels: Row, setting: Setting) -> Row:
    work = step.Step(
        step.build(labels['losses'], labels['pair']),
        setting.size,
        labels['images'],
    )
    parts = {
        name: partial(autocast, run, setting.device, labels['amp'])
        for name, run in work.parts().items()
    }
    return {
        **step.compare_parts(parts, setting.step_rounds),
        **{
            f'{name} peak MiB': None if setting.toy else peak_extra_mib(run)
            for name, run in parts.items()
        },
    }


def autocast(run: Run, device: str, enabled: bool) -> None:
    with torch.autocast(device, enabled=enabled):
        run()


def options(setting: Setting) -> Iterator[Case]:
    """What options of the teacher save of its forward pass."""
    for pair in setting.pairs[:1]:
        for name in step.TEACHER_OPTIONS:
            if setting.toy and name != 'image_scale 0.5':
                continue
            yield (
                {'pair': pair, 'option': name},
                partial(
                    step.option_figures,
                    name,
                    pair,
                    setting.size,
                    setting.step_rounds,
                ),
            )


def ranks(setting: Setting) -> Iterator[Case]:
    """Steps in two data-parallel ranks."""
    labels = {'pair': setting.pairs[0], 'losses': 'wkd-l'}
    yield (
        labels,
        partial(
            compare_ranks,
            **labels,
            size=setting.size,
            num_images=1 if setting.toy else 4,
            rounds=setting.step_rounds,
        ),
    )


def studies(setting: Setting) -> Iterator[Case]:
    """Accuracy of ResNets on minicoco, after their teacher's."""
    from resnets.study import Study

    study = Study(setting.folder / 'study', toy=setting.toy)
    yield {'made': 'images'}, study.draw
    yield {'made': 'teacher'}, study.train_teacher
    for seed in study.grid.seeds[: 1 if setting.toy else None]:
        yield {'made': 'students', 'seed': seed}, partial(study.compare, seed)


PARTS: dict[str, tuple[Callable[[Setting], Iterator[Case]], float]] = {
    # and its share of the time
    'agreement': (agreement, 0.08),
    'tests': (tests, 0.14),
    'losses': (losses, 0.12),
    'steps': (steps, 0.3),
    'options': (options, 0.06),
    'graphs': (graphs, 0.04),
    'ranks': (ranks, 0.06),
    'studies': (studies, 0.2),
}


def budget(part: str, parts: Sequence[str], seconds: float) -> float:
    """Seconds of a part, of those that are left for it and what follows."""
    following = parts[parts.index(part) :]
    shares = sum(PARTS[name][1] for name in following)
    return seconds * PARTS[part][1] / shares


class OutOfTimeError(BaseException):
    """The time of a part is over; nothing that catches errors catches it."""


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise ``OutOfTimeError`` in what is run for longer."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise OutOfTimeError(f'cut off after {seconds:.0f} s')

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def measure(name: str, setting: Setting, seconds: float) -> Iterator[Row]:
    """Rows of a part, until its time is over."""
    deadline = time.monotonic() + seconds
    cases = PARTS[name][0](setting)
    while True:
        labels: Row = {}
        try:
            with within(deadline - time.monotonic()):
                labels, run = next(cases)
                row = labels | run()
        except StopIteration:
            return
        except OutOfTimeError as error:
            yield labels | {'error': str(error)}
            return
        except Exception as error:
            if not labels:  # nothing comes after a generator's own error
                cases = iter(())
            row = labels | {'error': f'{type(error).__name__}: {error}'[:1000]}
        yield row


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    step.prepare()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    folder = args.out.resolve().parent
    folder.mkdir(parents=True, exist_ok=True)
    setting = Setting(device, args.dry_run, folder)
    results: dict[str, Any] = {
        'machine': machine(),
        'toy': args.dry_run,
        'operators of torchvision': WITHOUT_OPERATORS,
    }
    deadline = time.monotonic() + 60 * args.minutes
    for name in args.parts:
        results[name] = []
        seconds = budget(name, args.parts, deadline - time.monotonic())
        for row in measure(name, setting, seconds):
            results[name].append(row)
            args.out.write_text(json.dumps(results, indent=1))
            print(name, row, flush=True)


if __name__ == '__main__':
    main()
