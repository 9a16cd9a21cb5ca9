"""What a person sees while the demo runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.table import Table
from rich.text import Text

from studies.demo.results import Results, table_rows, verdict

Item = TypeVar('Item')

# A log file instead of a terminal gets a line for each part of a step.
_LINES_PER_STEP = 8


class Display:
    """Numbered steps with a progress bar each.

    On a terminal the running step is one line that moves; elsewhere, such as
    in a CI log, a step prints a line now and then.
    """

    def __init__(self, console: Console, num_steps: int) -> None:
        self.console = console
        self._num_steps = num_steps
        self._step = 0

    def headline(self, title: str, facts: str) -> None:
        """Print a title and what there is to know before the first step."""
        self.console.print(Text(title, style='bold'))
        self.console.print(Text(facts, style='dim'), soft_wrap=True)
        self.console.print()

    @contextmanager
    def step(self, title: str, unit: str) -> Iterator[Step]:
        """Show a step while it runs, and one line about it at the end."""
        self._step += 1
        label = f'[{self._step}/{self._num_steps}] {title}'
        progress = Progress(
            SpinnerColumn(),
            TextColumn('{task.description}', markup=False),
            BarColumn(bar_width=24),
            TextColumn('{task.completed:.0f}/{task.total:.0f}'),
            TextColumn('{task.fields[unit]}', markup=False),
            _Remaining(),
            TextColumn('{task.fields[note]}', markup=False, style='cyan'),
            console=self.console,
            # Validation and checkpoints come rarely and are part of the time.
            speed_estimate_period=180,
            transient=True,
            disable=not self.console.is_terminal,
        )
        step = Step(self.console, progress, label, unit)
        with progress:
            yield step
        line = Text.assemble(
            ('done  ', 'green'), f'{label:<26}', (step.outcome, 'cyan')
        )
        self.console.print(line, soft_wrap=True)

    def results(self, results: Results, files: Mapping[str, Path]) -> None:
        """Print the table of results, the verdict and where the files are."""
        header, *rows = table_rows(results)
        table = Table(box=None, header_style='bold', pad_edge=False)
        for index, name in enumerate(header):
            table.add_column(
                name, justify='right' if index else 'left', no_wrap=True
            )
        for row in rows:
            table.add_row(*row)
        told = verdict(results)
        colour = {'good': 'green', 'bad': 'red', 'even': 'yellow'}[told.tone]
        self.console.print()
        self.console.print(table)
        self.console.print()
        self.console.print(Text(told.headline, style=f'bold {colour}'))
        self.console.print(Text(told.text))
        self.console.print()
        for name, file in files.items():
            self.console.print(Text(f'{name:<12}{file}'), soft_wrap=True)


class Step:
    """A running step of a :class:`Display`."""

    def __init__(
        self, console: Console, progress: Progress, label: str, unit: str
    ) -> None:
        self.outcome = ''  # shown at the end
        self._console = console
        self._progress = progress
        self._label = label
        self._unit = unit
        self._task: TaskID | None = None
        self._printed_part = -1

    def update(self, done: int, total: int, note: str = '') -> None:
        """Show how far the step is."""
        if self._task is None:
            self._task = self._progress.add_task(
                self._label, total=total, note=note, unit=self._unit
            )
        self._progress.update(
            self._task, completed=done, total=total, note=note
        )
        if not self._console.is_terminal:
            self._print_line(done, total, note)

    def track(self, items: Sequence[Item]) -> Iterable[Item]:
        """Iterate over items and show how many are done."""
        for done, item in enumerate(items):
            self.update(done, len(items))
            yield item
        self.update(len(items), len(items))

    def _print_line(self, done: int, total: int, note: str) -> None:
        part = _LINES_PER_STEP * done // max(total, 1)
        if part == self._printed_part:
            return
        self._printed_part = part
        assert self._task is not None
        left = _remaining(self._progress.tasks[self._task])
        line = f'{self._label}  {done}/{total} {self._unit}  {left}  {note}'
        self._console.print(Text(line), soft_wrap=True)


class _Remaining(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(_remaining(task), style='dim')


def _remaining(task: Task) -> str:
    seconds = task.time_remaining
    if task.finished or seconds is None:
        return '       '
    return f'{timedelta(seconds=int(seconds))} left'
