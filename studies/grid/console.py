"""What a person sees while a grid runs."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

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


class GridProgress:
    """A bar for the grid, a bar for each run in it, a line for each end.

    An :class:`~studies.grid.schedule.Observer`.
    """

    def __init__(self, console: Console, num_runs: int) -> None:
        self._console = console
        self._num_runs = num_runs
        self._ended = 0
        self._progress = Progress(
            TextColumn('{task.description}', markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn('{task.fields[note]}', markup=False, style='cyan'),
            TimeRemainingColumn(),
            console=console,
            # Runs end rarely: their pace is that of all of them.
            speed_estimate_period=24 * 3600,
            transient=True,
            disable=not console.is_terminal,
        )
        self._total = self._progress.add_task('runs', total=num_runs, note='')
        self._tasks: dict[Run, TaskID] = {}
        self._shares: dict[Run, float] = {}  # of the runs under way

    def __enter__(self) -> GridProgress:
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

    def started(self, run: Run) -> None:
        """Add a bar."""
        self._tasks[run] = self._progress.add_task(
            run.title, total=run.max_iters, note='starting'
        )

    def progressed(self, run: Run, history: History) -> None:
        """Move a run's bar, and that of the grid by its share."""
        note = ''
        if history.validations:
            note = f'box AP {history.validations[-1].accuracy.ap:.1f}'
        self._progress.update(
            self._tasks[run], completed=history.iteration, note=note
        )
        if run.max_iters:
            self._shares[run] = history.iteration / run.max_iters
            self._show_total()

    def finished(self, run: Run, record: Record) -> None:
        """Replace a bar by a line with the result."""
        minutes = record.train_seconds / 60
        told = f'box AP {record.accuracy.ap:.1f}'
        self._end(run, ('done   ', 'green'), f'{told}, {minutes:.1f} min')

    def failed(self, run: Run, error: Exception) -> None:
        """Replace a bar by the reason."""
        self._end(run, ('failed ', 'red'), str(error))

    def _end(self, run: Run, word: tuple[str, str], told: str) -> None:
        self._ended += 1
        self._progress.remove_task(self._tasks.pop(run))
        self._shares.pop(run, None)
        self._show_total()
        count = f'[{self._ended}/{self._num_runs}] '
        line = Text.assemble(word, f'{count}{run.title}  ', (told, 'cyan'))
        self._console.print(line, soft_wrap=True)

    def _show_total(self) -> None:
        under_way = sum(list(self._shares.values()))
        self._progress.update(self._total, completed=self._ended + under_way)


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
