"""Run a training in a process of its own: watch, skip, resume, explain.

A folder of a training holds, beside what mmengine writes, ``train.log`` (all
that the process printed) and ``stage.json``: the fingerprint of the training,
whether it has finished, and how long each attempt took. A training that
another program carries out leaves ``ended``, with the name of its machine.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from mmwkd.files import atomic_write, read_json
from studies.grid.scalars import History, read_history

Start = Literal['done', 'resume', 'afresh']

ENDED = 'ended'
_TAIL_LINES = 25

# glibc gives each large tensor of a step back to the system and gets it anew,
# page by page, in the next: up to a fifth of a step's time on a CPU.
_KEEP_MEMORY = {
    'MALLOC_MMAP_THRESHOLD_': str(2**30),
    'MALLOC_TRIM_THRESHOLD_': str(2**32),
    'MALLOC_TOP_PAD_': str(2**26),
}


class Training(NamedTuple):
    """A training to run."""

    title: str
    command: Sequence[str]
    work_dir: Path
    fingerprint: str
    cwd: Path
    environment: Mapping[str, str] = {}  # beside this process's own


class Finished(NamedTuple):
    """A training that has come to its end."""

    checkpoint: Path
    history: History
    minutes: float
    attempts: int


class TrainingFailedError(RuntimeError):
    """A training process has ended with an error.

    The message has the last lines that it printed, and where the others are.
    """

    def __init__(self, training: Training, returncode: int, log: Path) -> None:
        self.returncode = returncode
        self.log = log
        super().__init__(
            f'{training.title} failed (exit code {returncode})\n\n'
            f'{tail(log)}\n\n'
            f'whole log: {log}\n'
            f'command:   {shlex.join(training.command)}'
        )


@dataclass(frozen=True)
class _Stage:
    """The content of ``stage.json``."""

    fingerprint: str
    finished: bool = False
    seconds: list[float] = field(default_factory=list)  # of each attempt


def how_to_start(training: Training) -> Start:
    """Whether a training is done, can be resumed, or begins afresh.

    What has another fingerprint, such as that of an older config, does not
    count.
    """
    stage = _read_stage(training.work_dir)
    if stage is None or stage.fingerprint != training.fingerprint:
        return 'afresh'
    if (training.work_dir / ENDED).is_file():
        return 'done'
    if latest_checkpoint(training.work_dir) is None:
        return 'afresh'
    return 'done' if stage.finished else 'resume'


def hand_over(training: Training) -> str:
    """Prepare a training for another program to carry out.

    Returns:
        A shell command that continues the training from its last state.
        Like a training here, it refuses a folder with an active training.
    """
    work_dir = training.work_dir
    if how_to_start(training) == 'afresh':
        clear(work_dir)
        work_dir.mkdir(parents=True)
        _write_stage(work_dir, _Stage(training.fingerprint))
    log = shlex.quote(str(work_dir / 'train.log'))
    variables = {**_KEEP_MEMORY, **training.environment}
    environment = shlex.join(map('='.join, variables.items()))
    return (
        f'cd {shlex.quote(str(training.cwd))} && env {environment} '
        f'flock -n {log} {shlex.join(training.command)} >> {log} 2>&1 && '
        f'hostname > {shlex.quote(str(work_dir / ENDED))}'
    )


def handed_over_to(work_dir: Path) -> str | None:
    """Name of the machine on which another program ended a training."""
    note = work_dir / ENDED
    return note.read_text(encoding='utf-8').strip() if note.exists() else None


def run_training(
    training: Training,
    on_progress: Callable[[History], None],
    *,
    poll_seconds: float = 0.5,
) -> Finished:
    """Train until the end, from the last state of an earlier call.

    Args:
        training: The training.
        on_progress: Called several times a second with what was logged.
        poll_seconds: Seconds between two calls of it.

    Raises:
        TrainingFailedError: If the process fails.
        ValueError: If the folder has files of somebody else.
    """
    start = how_to_start(training)
    if start == 'afresh':
        clear(training.work_dir)
    if start != 'done':
        _run_process(training, start, on_progress, poll_seconds)
    return _finished(training)


def clear(work_dir: Path) -> None:
    """Remove a training's folder, if a training has made it.

    Raises:
        ValueError: If it has content that no training has written, or a
            training that still runs.
    """
    if not work_dir.exists():
        return
    if any(work_dir.iterdir()) and _read_stage(work_dir) is None:
        raise ValueError(
            f'{work_dir} has files that no training here wrote; move '
            'them away or choose another --work-dir'
        )
    log = work_dir / 'train.log'
    if log.exists():
        with log.open('ab') as file:
            _hold(file, work_dir)
    shutil.rmtree(work_dir)


def latest_checkpoint(work_dir: Path) -> Path | None:
    """The last checkpoint that mmengine has written, if there is one."""
    note = work_dir / 'last_checkpoint'
    if not note.is_file():
        return None
    # The note has an absolute path, which is stale in a folder that moved.
    checkpoint = work_dir / Path(note.read_text(encoding='utf-8').strip()).name
    return checkpoint if checkpoint.is_file() else None


def tail(log: Path, num_lines: int = _TAIL_LINES) -> str:
    """The last lines of a file."""
    if not log.is_file():
        return ''
    with log.open(encoding='utf-8', errors='replace') as file:
        return ''.join(deque(file, maxlen=num_lines)).rstrip()


def _run_process(
    training: Training,
    start: Start,
    on_progress: Callable[[History], None],
    poll_seconds: float,
) -> None:
    work_dir = training.work_dir
    work_dir.mkdir(parents=True, exist_ok=True)
    log = work_dir / 'train.log'
    command = list(training.command)
    if start == 'resume':
        command.append('--resume')
    attempt = _Attempt(training)
    attempt.note()

    def watch() -> None:
        attempt.note()
        on_progress(read_history(work_dir))

    run_process(training, command, log, watch, poll_seconds=poll_seconds)
    attempt.note(finished=True)
    on_progress(read_history(work_dir))


def run_process(
    training: Training,
    command: Sequence[str],
    log: Path,
    watch: Callable[[], None],
    *,
    poll_seconds: float = 0.5,
) -> None:
    """Run a command for a training, and end it if ``watch`` raises.

    Args:
        training: Says where to run, and what to call it.
        command: Command line.
        log: File that gets what the command prints.
        watch: Called again and again until the command has ended.
        poll_seconds: Seconds between two calls of it.

    Raises:
        TrainingFailedError: If the command fails.
        ValueError: If a process still writes this log.
    """
    with log.open('ab') as output:
        _hold(output, training.work_dir)
        process = subprocess.Popen(
            command,
            cwd=training.cwd,
            env={**_KEEP_MEMORY, **os.environ, **training.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    with _terminated(process):
        while process.poll() is None:
            watch()
            time.sleep(poll_seconds)
    if process.returncode:
        raise TrainingFailedError(training, process.returncode, log)


class _Attempt:
    """Keeps ``stage.json`` up to date, so that a kill loses no minutes."""

    def __init__(self, training: Training) -> None:
        self._work_dir = training.work_dir
        self._earlier = _read_stage(self._work_dir) or _Stage(
            training.fingerprint
        )
        self._started = time.monotonic()

    def note(self, *, finished: bool = False) -> None:
        """Write how long this attempt has taken so far."""
        seconds = round(time.monotonic() - self._started, 1)
        _write_stage(
            self._work_dir,
            replace(
                self._earlier,
                finished=finished,
                seconds=[*self._earlier.seconds, seconds],
            ),
        )


def _hold(log: BinaryIO, work_dir: Path) -> None:
    """Refuse a log that a process still writes; keep others off it.

    A process inherits the log as its output, so the lock lasts while it runs,
    even if the one that started it is killed.
    """
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ValueError(
            f'another process is still at work in {work_dir}; wait for it or '
            'end it'
        ) from error


@contextmanager
def _terminated(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End the child process in any case."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _finished(training: Training) -> Finished:
    stage = _read_stage(training.work_dir)
    checkpoint = latest_checkpoint(training.work_dir)
    if stage is None or checkpoint is None:
        raise RuntimeError(
            f'{training.title} ended without a checkpoint in '
            f'{training.work_dir}; see {training.work_dir / "train.log"}'
        )
    return Finished(
        checkpoint,
        read_history(training.work_dir),
        sum(stage.seconds or _logged_seconds(training.work_dir)) / 60,
        len(stage.seconds) or 1,
    )


def _logged_seconds(work_dir: Path) -> list[float]:
    """How long each attempt took that another program has started.

    mmengine names the folder of a log by the time at which it began.
    """
    return [
        log.stat().st_mtime
        - datetime.strptime(log.parts[-3], '%Y%m%d_%H%M%S').timestamp()
        for log in work_dir.glob('*/vis_data/scalars.json')
    ]


def _read_stage(work_dir: Path) -> _Stage | None:
    file = work_dir / 'stage.json'
    if not file.is_file():
        return None
    content = read_json(file)
    try:
        return _Stage(**content)
    except TypeError as error:
        raise ValueError(
            f'{file} does not say how far a training has come: move it away '
            'to start over'
        ) from error


def _write_stage(work_dir: Path, stage: _Stage) -> None:
    with atomic_write(work_dir / 'stage.json', force=True) as file:
        file.write(json.dumps(asdict(stage), indent=2).encode())
