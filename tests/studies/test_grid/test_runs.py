import fcntl
import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from studies.grid.runs import (
    Training,
    TrainingFailedError,
    how_to_start,
    latest_checkpoint,
    run_training,
    tail,
)
from tests.studies.test_grid.conftest import scalars_text

# Stands for tools/train.py: logs, writes a checkpoint, notes how it was called
FAKE_TRAINING = """
import json, os, pathlib, sys, time

work_dir = pathlib.Path(sys.argv[1])
calls = work_dir / 'calls.txt'
with calls.open('a') as file:
    print(*sys.argv[2:], file=file)
attempt = len(calls.read_text().splitlines())
print('a line of the log')
log = work_dir / f'{attempt}' / 'vis_data' / 'scalars.json'
log.parent.mkdir(parents=True)
log.write_text(pathlib.Path('scalars.txt').read_text())
(work_dir / 'iter_40.pth').write_text('weights')
(work_dir / 'pid').write_text(str(os.getpid()))
(work_dir / 'last_checkpoint').write_text('/old/place/iter_40.pth')
if 'sleep' in sys.argv:
    time.sleep(60)
if 'fail' in sys.argv:
    raise RuntimeError('the teacher is ill')
"""


@pytest.fixture
def make_training(tmp_path):
    (tmp_path / 'fake.py').write_text(FAKE_TRAINING)
    (tmp_path / 'scalars.txt').write_text(scalars_text([20, 40]))
    work_dir = tmp_path / 'run'

    def make(*arguments, fingerprint='abc'):
        command = [sys.executable, 'fake.py', str(work_dir), *arguments]
        return Training('fake', command, work_dir, fingerprint, tmp_path)

    return make


def calls(training):
    return (training.work_dir / 'calls.txt').read_text().splitlines()


def run(training):
    return run_training(training, lambda history: None, poll_seconds=0.01)


def interrupt(training):
    """Leave a training as Ctrl-C does, once it has a checkpoint."""

    def stop(history):
        if latest_checkpoint(training.work_dir):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_training(training, stop, poll_seconds=0.01)


def test_runs_and_tells_what_was_logged(make_training):
    training = make_training()
    reported = []

    finished = run_training(training, reported.append, poll_seconds=0.01)

    assert finished.checkpoint == training.work_dir / 'iter_40.pth'
    assert finished.history.validations[-1].accuracy.ap == 4.0
    assert finished.history == reported[-1]
    assert finished.attempts == 1
    assert 0 <= finished.minutes < 1
    assert (training.work_dir / 'train.log').read_text() == (
        'a line of the log\n'
    )


def test_a_finished_training_is_not_repeated(make_training):
    first = run(make_training())
    assert how_to_start(make_training()) == 'done'

    assert run(make_training()) == first
    assert len(calls(make_training())) == 1


def test_a_training_of_something_else_is_repeated(make_training):
    run(make_training())
    changed = make_training(fingerprint='other')
    assert how_to_start(changed) == 'afresh'

    run(changed)

    assert calls(changed) == ['']  # the folder of the first one is gone


def test_an_interrupted_training_is_resumed(make_training):
    interrupt(make_training('sleep'))
    assert how_to_start(make_training()) == 'resume'

    finished = run(make_training())

    assert calls(make_training()) == ['sleep', '--resume']
    assert finished.attempts == 2


def test_interrupted_before_the_first_checkpoint_begins_afresh(
    make_training,
):
    interrupt(make_training('sleep'))
    (make_training().work_dir / 'iter_40.pth').unlink()

    assert how_to_start(make_training()) == 'afresh'


def test_leaves_no_process_behind(make_training):
    interrupt(make_training('sleep'))

    pid = int((make_training().work_dir / 'pid').read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_asks_a_process_to_end_before_it_kills(make_training):
    started = time.monotonic()
    interrupt(make_training('sleep'))

    assert time.monotonic() - started < 9  # it is killed after ten seconds


def test_a_failure_shows_the_end_of_the_log(make_training):
    training = make_training('fail')

    with pytest.raises(TrainingFailedError) as caught:
        run(training)

    message = str(caught.value)
    assert 'RuntimeError: the teacher is ill' in message
    assert str(training.work_dir / 'train.log') in message
    assert 'exit code 1' in message
    assert caught.value.returncode == 1


def test_a_failed_training_is_not_taken_for_done(make_training):
    with pytest.raises(TrainingFailedError):
        run(make_training('fail'))

    assert how_to_start(make_training()) == 'resume'


def test_a_command_that_cannot_start_leaves_no_trace(make_training):
    training = make_training()._replace(command=['/no/such/python'])
    with pytest.raises(FileNotFoundError):
        run(training)

    assert run(make_training()).attempts == 1


def test_leaves_foreign_files_alone(make_training):
    training = make_training()
    training.work_dir.mkdir()
    (training.work_dir / 'thesis.tex').write_text('years of work')

    with pytest.raises(ValueError, match='no training here wrote'):
        run(training)

    assert (training.work_dir / 'thesis.tex').exists()


def test_finds_the_checkpoint_in_a_folder_that_moved(make_training, tmp_path):
    run(make_training())
    shutil.move(make_training().work_dir, tmp_path / 'moved')

    assert latest_checkpoint(tmp_path / 'moved') == (
        tmp_path / 'moved' / 'iter_40.pth'
    )


def test_minutes_add_up_over_attempts(make_training):
    interrupt(make_training('sleep'))
    note = make_training().work_dir / 'stage.json'
    stage = json.loads(note.read_text())
    note.write_text(json.dumps({**stage, 'seconds': [90.0]}))

    assert run(make_training()).minutes == pytest.approx(1.5, abs=0.2)


def test_tail_is_the_last_lines(tmp_path):
    log = tmp_path / 'log'
    log.write_text('\n'.join(map(str, range(100))))

    assert tail(log, 3) == '97\n98\n99'
    assert tail(tmp_path / 'none') == ''


@pytest.mark.parametrize('text', ['{', '[1]', '{"other": 1}', '[' * 100_000])
def test_a_broken_note_of_a_training_is_named(make_training, text):
    training = make_training()
    training.work_dir.mkdir(parents=True)
    note = training.work_dir / 'stage.json'
    note.write_text(text)

    with pytest.raises(ValueError, match=f'^{note} '):
        run(training)
    assert note.read_text() == text


@pytest.mark.parametrize('fingerprint', ['abc', 'changed'])
def test_a_training_whose_starter_was_killed_is_left_alone(
    make_training, fingerprint
):
    interrupt(make_training('sleep'))
    training = make_training(fingerprint=fingerprint)
    log = training.work_dir / 'train.log'
    with log.open('ab') as output:
        fcntl.flock(output, fcntl.LOCK_EX)
        orphan = subprocess.Popen(
            [sys.executable, '-c', 'input()'],
            stdin=subprocess.PIPE,
            stdout=output,
        )
    try:
        with pytest.raises(ValueError, match='still at work in .*; wait for'):
            run(training)
    finally:
        orphan.communicate(b'end')

    assert run(training).history.iteration == 40
