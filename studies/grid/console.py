"""What the terminal shows during a training."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from studies.grid.plan import Run
from studies.grid.scalars import History
from studies.grid.schedule import State
from studies.grid.table import Record

Item = TypeVar('Item')
Self = TypeVar('Self', bound='Bars')


class Bars:
    """Progress bars, and a line for each that has ended.

    Args:
        console: Where to show them.
        num_lines: Lines for a bar where nothing can move, as in a log file.
    """

    def __init__(self, console: Console, num_lines: int = 0) -> None:
        self.console = console
        self._num_lines = num_lines
        self._progress = Progress(
            TextColumn('{task.description}', markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn('{task.fields[note]}', markup=False, style='cyan'),
            TimeRemainingColumn(),
            console=console,
            # Runs end and validate rarely: their pace is that of all of them.
            speed_estimate_period=24 * 3600,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks: dict[Hashable, TaskID] = {}
        self._shown: dict[Hashable, int] = {}  # lines, by bar

    def __enter__(self: Self) -> Self:
        """Show the bars."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bars away."""
        self._progress.stop()

    def start(self, key: Hashable, title: str, total: int | None) -> None:
        """Add a bar."""
        self._tasks[key] = self._progress.add_task(
            title, total=total, note='starting'
        )

    def update(
        self, key: Hashable, done: float, total: int | None, note: str = ''
    ) -> None:
        """Move a bar."""
        task = self._tasks[key]
        self._progress.update(task, completed=done, total=total, note=note)
        part = int(self._num_lines * done / total) if total else 0
        if not self.console.is_terminal and part > self._shown.get(key, 0):
            self._shown[key] = part
            title = self._progress.tasks[task].description
            line = f'{title}  {done:.0f}/{total}  {note}'
            self.console.print(Text(line), soft_wrap=True)

    def end(
        self, key: Hashable, word: tuple[str, str], title: str, outcome: str
    ) -> None:
        """Replace a bar by a line; the word has a style."""
        self._progress.refresh()  # the last state of the bar
        self._progress.update(self._tasks.pop(key), visible=False)
        line = Text.assemble(word, f'{title}  ', (outcome, 'cyan'))
        self.console.print(line, soft_wrap=True)


class Step:
    """A step of :class:`Steps` that is running."""

    def __init__(self, bars: Bars, title: str) -> None:
        self.outcome = ''  # shown at the end
        self._bars = bars
        self._title = title

    def update(self, done: int, total: int, note: str = '') -> None:
        """Show how far the step is."""
        self._bars.update(self._title, done, total, note)

    def track(self, items: Sequence[Item]) -> Iterable[Item]:
        """Iterate over items and show how many are done."""
        for done, item in enumerate(items):
            self.update(done, len(items))
            yield item
        self.update(len(items), len(items))


class Steps:
    """Numbered steps, one after another, with a bar each."""

    def __init__(self, console: Console, num_steps: int) -> None:
        self.console = console
        self._num_steps = num_steps
        self._step = 0

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show a step while it runs, and one line about it at the end."""
        self._step += 1
        label = f'[{self._step}/{self._num_steps}] {title}'
        with Bars(self.console, num_lines=8) as bars:
            bars.start(label, label, None)
            step = Step(bars, label)
            yield step
            bars.end(label, ('done  ', 'green'), f'{label:<26}', step.outcome)


class GridProgress(Bars):
    """A bar for the grid, a bar for each run in it, a line for each end.

    An :class:`~studies.grid.schedule.Observer`.
    """

    def __init__(self, console: Console, num_runs: int) -> None:
        super().__init__(console)
        self._num_runs = num_runs
        self._ended = 0
        self._shares: dict[Run, float] = {}  # of the runs under way
        self.start('runs', 'runs', num_runs)

    def started(self, run: Run) -> None:
        """Add a bar."""
        self.start(run, run.title, run.max_iters)

    def progressed(self, run: Run, history: History) -> None:
        """Move a run's bar, and that of the grid by its share."""
        note = ''
        if history.validations:
            note = f'box AP {history.validations[-1].accuracy.ap:.1f}'
        self.update(run, history.iteration, run.max_iters, note)
        if run.max_iters:
            self._shares[run] = history.iteration / run.max_iters
            self._show_total()

    def finished(self, run: Run, record: Record) -> None:
        """Replace a bar by a line with the result."""
        minutes = record.train_seconds / 60
        outcome = f'box AP {record.accuracy.ap:.1f}, {minutes:.1f} min'
        self._end(run, ('done   ', 'green'), outcome)

    def failed(self, run: Run, error: Exception) -> None:
        """Replace a bar by the reason."""
        self._end(run, ('failed ', 'red'), str(error))

    def _end(self, run: Run, word: tuple[str, str], outcome: str) -> None:
        self._ended += 1
        self._shares.pop(run, None)
        self._show_total()
        count = f'[{self._ended}/{self._num_runs}] '
        self.end(run, word, f'{count}{run.title}', outcome)

    def _show_total(self) -> None:
        under_way = sum(list(self._shares.values()))
        self.update('runs', self._ended + under_way, self._num_runs)


def show_plan(
    console: Console, runs: Sequence[Run], states: Sequence[State]
) -> None:
    """Print what would be run."""
    width = max(len(run.title) for run in runs)
    for run, state in zip(runs, states, strict=True):
        line = Text.assemble(
            (f'{state:<10}', 'cyan'),
            f'{run.title:<{width}}  ',
            (' '.join([run.config, *run.options]), 'dim'),
        )
        console.print(line, soft_wrap=True)
