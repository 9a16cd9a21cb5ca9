"""The comparison from end to end: a grid in, a table and a summary out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.text import Text

from studies.grid.console import GridProgress, show_plan
from studies.grid.emit import Style, emit
from studies.grid.grid import read_grid
from studies.grid.plan import plan_runs
from studies.grid.report import write_summary
from studies.grid.schedule import (
    MakeCommand,
    Workshop,
    carry_out,
    mmdet_command,
    states,
)
from studies.grid.summary import summarise
from studies.grid.table import keys, read_table


@dataclass(frozen=True)
class Options:
    """Options of the command line."""

    source: Path  # a grid, or the table of one
    repo: Path
    work_dir: Path
    table: Path | None = None  # None: in work_dir
    summary: Path | None = None
    jobs: int = 2
    dry_run: bool = False
    emit: Style | None = None  # print the open runs, and run none
    baseline: str | None = None  # None: the grid's
    dataset: str | None = None  # with a table: the label to sum up


def compare(
    options: Options,
    console: Console,
    make_command: MakeCommand = mmdet_command,
) -> bool:
    """Run what a grid still lacks, and write the summary.

    A table in place of a grid is summarised, or its runs with one label.

    Args:
        options: What to do.
        console: Where to show it.
        make_command: Makes the command line of a run.

    Returns:
        Whether every run has ended well.

    Raises:
        OSError: If a file is missing.
        ValueError: If the grid, a config or the table cannot be used.
    """
    folder = (options.summary or options.work_dir / 'summary').resolve()
    if options.source.suffix == '.csv':
        if not options.source.is_file():
            raise FileNotFoundError(f'table {options.source} does not exist')
        records = read_table(options.source)
        if options.dataset is not None:
            records = _of_dataset(records, options.dataset)
        _summarise(options, records, folder, console)
        return True
    if options.dataset is not None:
        raise ValueError(
            'a grid names its dataset; --dataset is for a table in its place'
        )
    grid = read_grid(options.source)
    table = (options.table or options.work_dir / 'runs.csv').resolve()
    if table.suffix != '.csv':
        raise ValueError(f'the table is a .csv file, got {table.name}')
    runs = plan_runs(grid, options.repo)
    workshop = Workshop(
        repo=options.repo,
        work_dir=options.work_dir.resolve(),
        table=table,
        jobs=options.jobs,
        make_command=make_command,
        results=(folder,),
    )
    known = states(runs, workshop)
    if options.dry_run:
        show_plan(console, runs, known)
        return True
    if options.emit is not None:
        # those that have ended are recorded
        ended = [
            run
            for run, state in zip(runs, known, strict=True)
            if state == 'done'
        ]
        with GridProgress(console, len(ended)) as shown:
            failed = carry_out(ended, workshop, shown)
        waiting = [
            run
            for run, state in zip(runs, known, strict=True)
            if state in ('afresh', 'resume')
        ]
        if waiting:
            print(emit(waiting, workshop, options.emit), end='')
        console.print(f'{len(waiting)} of {len(runs)} runs are open')
        return not failed
    console.print(
        f'{len(runs)} runs, {known.count("recorded")} of them recorded in '
        f'{table}; logs are in {workshop.work_dir}',
        soft_wrap=True,
    )
    with GridProgress(console, len(runs) - known.count('recorded')) as shown:
        failed = carry_out(runs, workshop, shown)
    planned = {run.key for run in runs}
    records = read_table(table)
    records = records.loc[[key in planned for key in keys(records)]]
    _summarise(options, records, folder, console)
    if failed:
        message = f'{len(failed)} of {len(runs)} runs failed: '
        message += '; '.join(run.title for run in failed)
        console.print(Text(message, style='red'), soft_wrap=True)
    return not failed


def _of_dataset(records: pd.DataFrame, dataset: str) -> pd.DataFrame:
    kept = records[records.dataset == dataset]
    if kept.empty:
        known = sorted(set(records.dataset))
        raise ValueError(
            f'no run has the dataset {dataset!r}; the table has '
            f'{"; ".join(known) or "none"}'
        )
    return kept


def _summarise(
    options: Options,
    records: pd.DataFrame,
    folder: Path,
    console: Console,
) -> None:
    if not records.seed.notna().any():
        console.print('no run has finished, so there is nothing to compare')
        return
    outputs = write_summary(summarise(records, options.baseline), folder)
    console.print(f'summary: {outputs.page}', soft_wrap=True)
