"""How every benchmark here measures: alternating, in one process, medians."""

from __future__ import annotations

import ctypes
import json
import math
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

sys.path.append(str(Path(__file__).resolve().parents[1]))

from studies.grid.machine import cpu_name  # noqa: E402


def time_rounds(
    candidates: Mapping[str, Callable[[], Any]], rounds: int
) -> dict[str, list[float]]:
    """Time candidates in turn, so that drift of the machine affects all.

    Args:
        candidates: Functions by name.
        rounds: Timed calls of each, after one that is not timed.

    Returns:
        Milliseconds of each call.
    """
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for run in candidates.values():
        run()
    for _ in range(rounds):
        for name, run in candidates.items():
            _wait()
            started = time.perf_counter()
            run()
            _wait()
            times[name].append(1e3 * (time.perf_counter() - started))
    return times


def alternate(
    candidates: Mapping[str, Callable[[], Any]], rounds: int
) -> dict[str, dict[str, float]]:
    """Median and interquartile range of each in milliseconds, in turn."""
    summary = {}
    for name, values in time_rounds(candidates, rounds).items():
        low, _, high = statistics.quantiles(values, n=4)
        summary[name] = {
            'median_ms': statistics.median(values),
            'iqr_ms': high - low,
        }
    return summary


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Interval of at least 95 % for the median: two of the sorted values.

    The number of values below the median is binomial. With fewer than 6
    values, their whole range has less than 95 %.
    """
    count, below, outside = len(values), 0.0, 0
    for successes in range(count // 2):
        below += math.comb(count, successes) / 2**count
        if 2 * below > 0.05:
            break
        outside = successes
    ordered = sorted(values)
    return ordered[outside], ordered[count - 1 - outside]


def _wait() -> None:
    """Let a GPU finish, so that its work is timed and not its launch."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_extra_mib(run: Callable[[], Any]) -> float | None:
    """Peak memory of a call beyond that before it, in MiB.

    On a GPU it is that of torch's allocator. On a CPU it is resident memory,
    measured in a forked process on the second call, after freed memory was
    given back, so that it is not reused unseen. None where Linux's counters
    are missing.
    """
    if torch.cuda.is_available():
        _wait()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        _wait()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    if not Path('/proc/self/clear_refs').exists():
        return None
    context = multiprocessing.get_context('fork')
    receiver, sender = context.Pipe(duplex=False)

    def child() -> None:
        torch.set_num_threads(1)
        run()  # what is allocated once, such as buffers of libraries
        give_back_memory()
        Path('/proc/self/clear_refs').write_text('5')  # resets the peak
        before = _status('VmRSS')
        run()
        sender.send(_status('VmHWM') - before)

    process = context.Process(target=child)
    process.start()
    process.join()
    return receiver.recv() / 1024 if receiver.poll() else None


def give_back_memory() -> None:
    """Return freed memory to the system, so that it does not count."""
    ctypes.CDLL(None).malloc_trim(0)


def resident_mib() -> float:
    """Memory of this process that is resident, in MiB."""
    return _status('VmRSS') / 1024


def _status(field: str) -> int:
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    raise RuntimeError(f'no {field} in /proc/self/status')


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        'cpu': cpu_name(),
        'device': torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else 'cpu',
        'threads': torch.get_num_threads(),
        'torch': torch.__version__,
        'date': date.today().isoformat(),
    }


def report(title: str, rows: list[dict[str, Any]], out: Path) -> None:
    """Print a table and write the same rows as JSON."""
    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name, justify='right')
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    Console(width=200).print(table)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({'machine': machine(), 'rows': rows}, indent=2))
    Console().print(f'written to {out}')


def _cell(value: Any) -> str:
    if value is None:
        return 'not run'
    return f'{value:.3g}' if isinstance(value, float) else str(value)
