"""Carry out the runs of a plan, some at a time, and record each that ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import Literal, NamedTuple, Protocol

import torch
from filelock import FileLock, Timeout

from mmwkd.files import atomic_write, read_json
from studies.grid.accuracy import Accuracy
from studies.grid.devices import Slots, visible_devices
from studies.grid.machine import describe_machine, git_commit
from studies.grid.plan import Run
from studies.grid.runs import (
    Start,
    Training,
    clear,
    handed_over_to,
    how_to_start,
    run_process,
    run_training,
)
from studies.grid.scalars import History, accuracy_of
from studies.grid.table import Record, add_record, keys, read_table

State = Start | Literal['recorded']

EMPTY: Mapping[str, str] = {}

MakeCommand = Callable[[Run, Path], list[str]]


class Observer(Protocol):
    """Hears what happens; from several threads."""

    def started(self, run: Run) -> None:
        """A run begins, or goes on."""

    def progressed(self, run: Run, history: History) -> None:
        """A run has logged this much; called again and again."""

    def finished(self, run: Run, record: Record) -> None:
        """A run has ended well and is in the table."""

    def failed(self, run: Run, error: Exception) -> None:
        """A run has ended badly; the others go on."""


@dataclass(frozen=True)
class Workshop:
    """Where and how runs are carried out.

    Attributes:
        repo: Folder that the commands run in.
        work_dir: Folder for checkpoints and logs, one folder for each run.
        table: The table to add records to.
        jobs: Runs at a time.
        make_command: Makes the command line of a run from its work_dir.
        results: Further files that may differ from the commit.
        poll_seconds: Seconds between two looks at what a run has logged.
    """

    repo: Path
    work_dir: Path
    table: Path
    jobs: int
    make_command: MakeCommand
    results: tuple[Path, ...] = ()
    poll_seconds: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.jobs < 1:
            raise ValueError(f'jobs must be at least 1, got {self.jobs}')

    def training(
        self, run: Run, environment: Mapping[str, str] = EMPTY
    ) -> Training:
        """The process of a run, and the environment that its device needs."""
        seed = 'test' if run.seed is None else f'seed-{run.seed}'
        work_dir = self.work_dir / run.row / seed
        return Training(
            title=run.title,
            command=self.make_command(run, work_dir),
            work_dir=work_dir,
            fingerprint=f'{run.config_hash} {run.seed}',
            cwd=self.repo,
            environment={'OMP_NUM_THREADS': str(_threads()), **environment},
        )

    def prepare(
        self, run: Run, environment: Mapping[str, str] = EMPTY
    ) -> Training:
        """As ``training``, with its config written if it was composed."""
        if run.composed is not None:
            path = Path(run.config_file(self.work_dir / run.row))
            with atomic_write(path, force=True) as file:
                file.write(run.composed.encode())
        return self.training(run, environment)


def mmdet_command(run: Run, work_dir: Path) -> list[str]:
    """The command line of a run with the tools of this repository."""
    options = list(run.options)
    if run.checkpoint is None:
        tool = ['tools/train.py', run.config_file(work_dir.parent)]
        options.append(f'randomness.seed={run.seed}')
    else:
        tool = ['tools/test.py', run.config, run.checkpoint]
    command = [sys.executable, *tool, '--work-dir', str(work_dir)]
    return [*command, '--cfg-options', *options] if options else command


def states(runs: Sequence[Run], workshop: Workshop) -> list[State]:
    """How far each run is: recorded, done, to resume, or to begin."""
    recorded = set(keys(read_table(workshop.table)))
    return [
        'recorded'
        if run.key in recorded
        else how_to_start(workshop.training(run))
        for run in runs
    ]


def carry_out(
    runs: Sequence[Run], workshop: Workshop, observer: Observer
) -> list[Run]:
    """Carry out all runs that the table does not have yet.

    Interrupted, it ends the processes that it has started; they are resumed
    by the next call.

    Args:
        runs: The runs, in the order to start them.
        workshop: Where and how.
        observer: Hears what happens.

    Returns:
        The runs that have failed.

    Raises:
        ValueError: If another process carries out runs in the same folder.
    """
    failed = []
    stop = Event()
    slots = Slots(workshop.jobs, visible_devices())

    def carry_out_one(run: Run) -> Record:
        with slots.take() as environment:
            return _carry_out_one(run, workshop, observer, stop, environment)

    # Threads, because each one only waits for a process.
    with (
        _alone_in(workshop.work_dir),
        ThreadPoolExecutor(workshop.jobs) as pool,
    ):
        futures = {
            pool.submit(carry_out_one, run): run
            for run, state in zip(runs, states(runs, workshop), strict=True)
            if state != 'recorded'
        }
        try:
            for future in as_completed(futures):
                run = futures[future]
                try:
                    record = future.result()
                except (OSError, RuntimeError, ValueError) as error:
                    failed.append(run)
                    observer.failed(run, error)
                else:
                    add_record(workshop.table, record)
                    observer.finished(run, record)
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return failed


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder, in which two processes would disturb each other."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / '.lock', timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise ValueError(
            f'another comparison is running in {folder}; wait for it, or '
            'choose another folder with --work-dir'
        ) from error
    try:
        yield
    finally:
        lock.release()


class _Stopped(Exception):  # noqa: N818  nothing is wrong
    """Ends a run whose grid has been interrupted."""


class _Outcome(NamedTuple):
    accuracy: Accuracy
    history: History = History()
    seconds: float = 0.0


def _carry_out_one(
    run: Run,
    workshop: Workshop,
    observer: Observer,
    stop: Event,
    environment: Mapping[str, str],
) -> Record:
    def watch(history: History) -> None:
        if stop.is_set():
            raise _Stopped
        observer.progressed(run, history)

    commit = git_commit(workshop.repo, (workshop.table, *workshop.results))
    observer.started(run)
    training = workshop.prepare(run, environment)
    elsewhere = handed_over_to(training.work_dir)
    work = _train if run.checkpoint is None else _test
    outcome = work(run, training, watch, workshop.poll_seconds)
    return Record(
        row=run.row,
        role=run.role,
        dataset=run.dataset,
        seed=run.seed,
        accuracy=outcome.accuracy,
        iterations=outcome.history.iteration,
        train_seconds=outcome.seconds,
        curve=tuple(
            (validation.iteration, validation.accuracy.ap)
            for validation in outcome.history.validations
        ),
        config=run.config,
        options=run.options,
        config_hash=run.config_hash,
        commit=commit,
        machine=elsewhere or _machine(),
        threads=_threads(),
        jobs=1 if elsewhere else workshop.jobs,
        date=datetime.now().astimezone().isoformat(timespec='seconds'),
    )


def _train(
    run: Run,
    training: Training,
    watch: Callable[[History], None],
    poll_seconds: float,
) -> _Outcome:
    ended = run_training(training, watch, poll_seconds=poll_seconds)
    if _final_accuracy(run, ended.history) is None:
        # Killed between its last checkpoint and its last validation: resumed,
        # it had nothing to do.
        clear(training.work_dir)
        ended = run_training(training, watch, poll_seconds=poll_seconds)
    accuracy = _final_accuracy(run, ended.history)
    if accuracy is None:
        raise RuntimeError(
            f'{run.title} has no validation of its last iteration; see '
            f'{training.work_dir / "train.log"}'
        )
    return _Outcome(accuracy, ended.history, round(60 * ended.minutes, 1))


def _final_accuracy(run: Run, history: History) -> Accuracy | None:
    end = run.max_iters or history.iteration
    for validation in history.validations:
        if validation.iteration == end:
            return validation.accuracy
    return None


def _test(
    run: Run,
    training: Training,
    watch: Callable[[History], None],
    poll_seconds: float,
) -> _Outcome:
    if how_to_start(training) != 'done':
        training.work_dir.mkdir(parents=True, exist_ok=True)
        run_process(
            training,
            training.command,
            training.work_dir / 'test.log',
            lambda: watch(History()),
            poll_seconds=poll_seconds,
        )
    # mmengine names folder and file by the time
    *_, metrics = sorted(training.work_dir.glob('*/*.json'))
    return _Outcome(accuracy_of(read_json(metrics)))


def _threads() -> int:
    # Small detectors gain nothing from a second thread, and runs side by side
    # would wait for each other.
    return int(os.environ.get('OMP_NUM_THREADS', '1'))


def _machine() -> str:
    machine = describe_machine()
    device = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else machine.cpu
    )
    return f'{device}, {machine.cores} cores'
