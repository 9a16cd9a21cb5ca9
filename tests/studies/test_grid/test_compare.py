"""Grids carried out with a trainer that only logs."""

import importlib.util
import io
import json
import platform
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from rich.console import Console

from studies.grid import figures, schedule
from studies.grid.compare import Options, compare
from studies.grid.console import GridProgress
from studies.grid.devices import Slots, visible_devices
from studies.grid.grid import read_grid
from studies.grid.machine import git_commit
from studies.grid.plan import plan_runs
from studies.grid.runs import tail
from studies.grid.schedule import (
    Workshop,
    carry_out,
    mmdet_command,
    states,
)
from studies.grid.table import add_record, keys, read_table
from tests.studies.test_grid.conftest import make_record, scalars_text
from tests.studies.test_grid.test_grid import change

# Stands for both tools: logs what mmengine logs, and notes how it was called
FAKE_TOOL = """
import os, pathlib, sys, time

kind, row, work_dir, log_text, *flags = sys.argv[1:]
log_text = log_text.replace('|', chr(10))
with open('calls.txt', 'a') as file:
    print(row, pathlib.Path(work_dir).name, *flags, file=file)
if pathlib.Path('fail', row).exists():
    raise RuntimeError('the loss of ' + row + ' is not finite')
folder = pathlib.Path(work_dir) / time.strftime('%Y%m%d_%H%M%S')
if kind == 'test':
    folder.mkdir(exist_ok=True)
    (folder / 'now.json').write_text(log_text)
else:
    file = folder / 'vis_data' / 'scalars.json'
    file.parent.mkdir(parents=True, exist_ok=True)
    if '--resume' not in flags or not pathlib.Path('too late').exists():
        file.write_text(log_text)
    (pathlib.Path(work_dir) / 'iter_40.pth').write_text('weights')
    (pathlib.Path(work_dir) / 'last_checkpoint').write_text('iter_40.pth')
    while pathlib.Path('slow', row).exists():
        time.sleep(0.02)
print('threads', os.environ['OMP_NUM_THREADS'])
print('malloc', os.environ['MALLOC_TOP_PAD_'])
"""


@pytest.fixture
def grid(repo, monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    monkeypatch.setattr(figures, '_DPI', 20)
    (repo / 'fake.py').write_text(FAKE_TOOL)
    return repo


def fake_command(run, work_dir):
    if run.checkpoint is not None:
        text = json.dumps({'coco/bbox_mAP': 0.396, 'time': 0.1})
        kind = 'test'
    else:
        text, kind = scalars_text([20, 40]), 'train'
    text = text.replace('\n', '|')
    return [sys.executable, 'fake.py', kind, run.row, str(work_dir), text]


class Heard:
    """An observer that keeps what it hears."""

    def __init__(self):
        self.ends, self.errors = [], {}

    def started(self, run):
        pass

    def progressed(self, run, history):
        pass

    def finished(self, run, record):
        self.ends.append((run.row, run.seed))

    def failed(self, run, error):
        self.errors[run.row] = str(error)


def workshop(repo, jobs=1):
    return Workshop(
        repo=repo,
        work_dir=repo / 'work',
        table=repo / 'runs.csv',
        jobs=jobs,
        make_command=fake_command,
        poll_seconds=0.01,
    )


def go(repo, observer=None, jobs=1):
    runs = plan_runs(read_grid(repo / 'grid.py'), repo)
    return carry_out(runs, workshop(repo, jobs), observer or Heard())


def calls(repo):
    return (repo / 'calls.txt').read_text().splitlines()


def flag(repo, kind, row=''):
    path = repo / kind / row
    path.parent.mkdir(exist_ok=True)
    path.touch()
    return path


ALL = ['teacher test', 'student seed-0', 'kd seed-0', 'student seed-1']
ALL += ['kd seed-1']


def test_runs_everything_in_order_and_records_it(grid):
    heard = Heard()

    assert go(grid, heard) == []

    assert calls(grid) == ALL
    assert heard.ends == [
        ('teacher', None),
        ('student', 0),
        ('kd', 0),
        ('student', 1),
        ('kd', 1),
    ]
    teacher, student, *_, kd = read_table(grid / 'runs.csv').itertuples()
    assert teacher.mAP == 39.6
    assert (kd.row, kd.seed, kd.role) == ('kd', 1, 'method')
    assert (kd.mAP, kd.mAP_50, kd.mAP_75) == (4.0, 8.0, 2.0)
    assert (kd.mAP_s, kd.mAP_m) == (1.0, 4.0)
    assert kd.ap_curve == '20:2.0 40:4.0'
    assert (kd.iterations, kd.threads, kd.jobs) == (40, 1, 1)
    assert kd.train_seconds >= 0
    log = grid / 'work' / 'kd' / 'seed-1' / 'train.log'
    # no thread of its own, and glibc set to keep its memory
    assert tail(log) == 'threads 1\nmalloc 67108864'


def test_runs_side_by_side_are_all_recorded_once(grid):
    go(grid, jobs=3)

    assert sorted(calls(grid)) == sorted(ALL)
    assert len(set(keys(read_table(grid / 'runs.csv')))) == 5


def test_what_is_recorded_is_not_run_again_on_another_machine(grid):
    go(grid)
    (grid / 'work').rename(grid / 'left behind')

    go(grid)

    assert calls(grid) == ALL
    assert len(read_table(grid / 'runs.csv')) == 5


def test_what_has_finished_is_recorded_without_running(grid):
    go(grid)
    (grid / 'runs.csv').unlink()

    go(grid)

    assert calls(grid) == [*ALL, 'teacher test']
    assert len(read_table(grid / 'runs.csv')) == 5


def test_a_changed_row_is_run_again_and_no_other(grid):
    go(grid)
    change(grid, '2.0', '3.0')

    go(grid)

    assert calls(grid)[5:] == ['kd seed-0', 'kd seed-1']
    assert len(read_table(grid / 'runs.csv')) == 7  # nothing is lost


def test_a_failure_stops_no_other_run(grid):
    marker = flag(grid, 'fail', 'kd')
    heard = Heard()

    failed = go(grid, heard)

    assert [run.title for run in failed] == ['kd, seed 0', 'kd, seed 1']
    assert len(heard.ends) == 3
    assert 'RuntimeError: the loss of kd is not finite' in heard.errors['kd']
    assert 'exit code 1' in heard.errors['kd']
    marker.unlink()
    assert go(grid) == []
    assert calls(grid)[5:] == ['kd seed-0', 'kd seed-1']


class Interrupting(Heard):
    def __init__(self, row):
        super().__init__()
        self.row = row

    def finished(self, run, record):
        super().finished(run, record)
        if run.row == self.row:
            raise KeyboardInterrupt


def interrupt(grid):
    """Leave while the first training of kd waits."""
    marker = flag(grid, 'slow', 'kd')

    class Impatient(Heard):
        def progressed(self, run, history):
            if run.row == 'kd' and history.iteration == 40:
                raise ValueError('interrupted')

    go(grid, Impatient())
    marker.unlink()


def test_an_unfinished_run_is_resumed(grid):
    interrupt(grid)
    runs = plan_runs(read_grid(grid / 'grid.py'), grid)
    assert states(runs, workshop(grid)) == [
        'recorded',
        'recorded',
        'resume',
        'recorded',
        'resume',
    ]

    go(grid)

    assert calls(grid)[5:] == ['kd seed-0 --resume', 'kd seed-1 --resume']


def test_resumed_too_late_to_be_validated_it_begins_afresh(grid):
    interrupt(grid)
    for log in (grid / 'work' / 'kd').glob('*/*/vis_data/scalars.json'):
        log.write_text(scalars_text([20]))
    flag(grid, '.', 'too late')

    assert go(grid) == []

    assert calls(grid)[5:7] == ['kd seed-0 --resume', 'kd seed-0']
    assert len(read_table(grid / 'runs.csv')) == 5


def test_a_training_that_never_validates_has_failed(grid):
    config = grid / 'kd.py'
    config.write_text(config.read_text().replace('40', '60'))
    heard = Heard()

    go(grid, heard)

    assert 'kd, seed 1 has no validation of its last' in heard.errors['kd']


def test_an_interruption_ends_the_processes_and_keeps_the_table(grid):
    flag(grid, 'slow', 'kd')

    with pytest.raises(KeyboardInterrupt):
        go(grid, Interrupting('student'), jobs=2)

    rows = list(read_table(grid / 'runs.csv').row)
    assert rows in (['student'], ['teacher', 'student'])
    assert 'kd seed-1' not in calls(grid)


def test_two_comparisons_in_one_folder_are_refused(grid):
    class Second(Heard):
        def finished(self, run, record):
            super().finished(run, record)
            if run.row == 'teacher':
                go(grid)

    with pytest.raises(ValueError, match='another comparison is running in'):
        go(grid, Second())

    assert go(grid) == []
    assert len(read_table(grid / 'runs.csv')) == 5


def test_jobs_are_at_least_one(grid):
    with pytest.raises(ValueError, match='jobs must be at least 1, got 0'):
        workshop(grid, jobs=0)


def test_the_command_lines_are_those_of_the_tools(repo):
    teacher, _, kd, *_ = plan_runs(read_grid(repo / 'grid.py'), repo)

    assert mmdet_command(teacher, Path('w'))[1:] == (
        ['tools/test.py', 'big.py', 'big.pth', '--work-dir', 'w']
    )
    assert mmdet_command(kd, Path('w'))[1:] == [
        'tools/train.py',
        'kd.py',
        '--work-dir',
        'w',
        '--cfg-options',
        'default_hooks.logger.log_metric_by_epoch=False',
        'model.teacher.checkpoint=big.pth',
        'model.loss.weight=2.0',
        'randomness.seed=0',
    ]


def run_compare(grid, **options):
    output = io.StringIO()
    source = options.pop('source', grid / 'grid.py')
    complete = compare(
        Options(
            **{'source': source, 'repo': grid, 'work_dir': grid / 'work'},
            **options,
        ),
        Console(file=output, width=100),
        fake_command,
    )
    return complete, output.getvalue()


def test_from_a_grid_to_a_summary_and_again_from_the_table(grid):
    complete, shown = run_compare(grid, table=grid / 'runs.csv')

    assert complete
    assert '[5/5]' in shown
    assert 'box AP 39.6' in shown
    markdown = grid / 'work' / 'summary' / 'summary.md'
    text = markdown.read_text()
    assert '| student (baseline) | 4.0 | 0.0 | 2 |' in text
    complete, shown = run_compare(
        grid, source=grid / 'runs.csv', summary=grid / 'again'
    )
    assert complete
    assert (grid / 'again' / 'summary.md').read_text() == text


def test_a_table_of_several_comparisons_is_summed_up_by_label(grid):
    table = grid / 'all.csv'
    for dataset, ap in (('shapes', 30.0), ('icons', 20.0)):
        for row, gain in (('student', 0.0), ('kd', 4.0)):
            add_record(table, make_record(row, 0, ap + gain, dataset=dataset))

    with pytest.raises(ValueError, match=r'icons; shapes \(--dataset'):
        run_compare(grid, source=table)
    with pytest.raises(ValueError, match=r"'shape'; the table has icons"):
        run_compare(grid, source=table, dataset='shape')
    with pytest.raises(ValueError, match='a grid names its dataset'):
        run_compare(grid, dataset='shapes')
    run_compare(grid, source=table, dataset='shapes', summary=grid / 'out')

    text = (grid / 'out' / 'summary.md').read_text()
    assert '| kd | 34.0 |' in text
    assert '24.0' not in text


def test_the_same_run_under_another_label_is_a_run_of_its_own(grid):
    run_compare(grid, table=grid / 'runs.csv')
    change(grid, "dataset = 'minicoco'", "dataset = 'minicoco, again'")

    complete, shown = run_compare(grid, table=grid / 'runs.csv')

    assert complete
    assert '5 runs, 0 of them recorded' in shown
    assert len(read_table(grid / 'runs.csv')) == 10


def test_the_summary_is_of_the_grid_as_it_is_now(grid):
    run_compare(grid)
    change(grid, 'kd=dict', 'kd2=dict')

    run_compare(grid)

    text = (grid / 'work' / 'summary' / 'summary.md').read_text()
    assert '| kd2 |' in text
    assert '| kd |' not in text


def test_a_dry_run_lists_and_runs_nothing(grid):
    complete, shown = run_compare(grid, dry_run=True)

    assert complete
    assert [line.split()[:2] for line in shown.splitlines()] == [
        ['afresh', 'teacher'],
        ['afresh', 'student,'],
        ['afresh', 'kd,'],
        ['afresh', 'student,'],
        ['afresh', 'kd,'],
    ]
    assert not (grid / 'work').exists()


def test_failures_are_told_at_the_end(grid):
    for row in ('teacher', 'student', 'kd'):
        flag(grid, 'fail', row)

    complete, shown = run_compare(grid)

    assert not complete
    assert 'nothing to compare' in shown
    assert '5 of 5 runs failed: ' in shown


def test_a_table_is_named_csv(grid):
    with pytest.raises(ValueError, match=r'is a .csv file, got runs.xlsx'):
        run_compare(grid, table=grid / 'runs.xlsx')


def test_a_table_that_does_not_exist(grid):
    with pytest.raises(FileNotFoundError, match=r'table .*none.csv does not'):
        run_compare(grid, source=grid / 'none.csv')


def test_bars_on_a_terminal_show_runs_and_accuracy(grid):
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=120)
    with GridProgress(console, 5) as shown:
        go(grid, shown)

    assert '5/5' in output.getvalue()
    assert 'box AP 4.0' in output.getvalue()


def test_results_do_not_make_a_commit_dirty(tmp_path):
    def git(*arguments):
        identity = ('-c', 'user.name=x', '-c', 'user.email=x@y')
        subprocess.run(
            ['git', *identity, *arguments], cwd=tmp_path, check=True
        )

    assert git_commit(tmp_path) is None
    git('init', '-q')
    (tmp_path / 'runs.csv').write_text('old')
    git('add', '.')
    git('commit', '-qm', 'x')
    clean = git_commit(tmp_path)
    (tmp_path / 'runs.csv').write_text('new')

    assert git_commit(tmp_path, [tmp_path / 'runs.csv']) == clean
    assert git_commit(tmp_path, [Path('/elsewhere')]) == f'{clean}-dirty'


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.setattr('signal.signal', lambda *_: None)
    path = Path(__file__).resolve().parents[3] / 'tools' / 'compare.py'
    spec = importlib.util.spec_from_file_location('compare_tool', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tool_says_what_is_wrong(tool, monkeypatch, capsys, tmp_path):
    arguments = ['compare.py', 'none.py', '--work-dir', str(tmp_path)]
    monkeypatch.setattr(sys, 'argv', arguments)

    assert tool.main() == 1
    assert 'grid file none.py does not exist' in capsys.readouterr().out


@pytest.mark.parametrize(('complete', 'code'), [(True, 0), (False, 1)])
def test_the_exit_code_of_the_tool(tool, monkeypatch, complete, code):
    given = []

    def stand_in(options, console):
        given.append(options)
        return complete

    monkeypatch.setattr('studies.grid.compare.compare', stand_in)
    arguments = ['x', 'g.py', '--work-dir', 'w', '--jobs', '3', '--dry-run']
    monkeypatch.setattr(sys, 'argv', arguments)

    assert tool.main() == code
    assert given[0].jobs == 3
    assert given[0].dry_run
    assert given[0].source == Path('g.py')


def environments(grid, jobs, devices, monkeypatch):
    """Run with some devices; the devices of the runs, sorted."""
    monkeypatch.setattr(schedule, 'visible_devices', lambda: devices)
    tool = grid / 'fake.py'
    tool.write_text(
        FAKE_TOOL + "with open('devices.txt', 'a') as file:\n"
        "    print(os.environ.get('CUDA_VISIBLE_DEVICES'), file=file)\n"
    )
    go(grid, jobs=jobs)
    return sorted((grid / 'devices.txt').read_text().split())


def test_one_job_has_the_first_device(grid, monkeypatch):
    assert environments(grid, 1, ['3', '5'], monkeypatch) == ['3'] * 5


def test_without_devices_the_environment_stays(grid, monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')

    assert environments(grid, 2, [], monkeypatch) == []


@pytest.mark.parametrize(
    ('jobs', 'expected'),
    [(1, '0'), (2, '0 1'), (3, '0 1 2'), (5, '0 0 1 1 2')],
)
def test_each_job_has_a_device_round_robin(jobs, expected):
    slots = Slots(jobs, ['0', '1', '2'])
    with ExitStack() as stack:
        taken = [stack.enter_context(slots.take()) for _ in range(jobs)]

        assert ' '.join(
            sorted(env['CUDA_VISIBLE_DEVICES'] for env in taken)
        ) == (expected)
    with slots.take() as again:
        assert again in taken


@pytest.mark.parametrize(
    ('variable', 'count', 'devices'),
    [
        (None, 0, []),
        (None, 2, ['0', '1']),
        ('3,5', 2, ['3', '5']),
        ('GPU-8932f937', 1, ['GPU-8932f937']),
        ('', 0, []),
        ('-1', 0, []),
    ],
)
def test_devices_are_those_that_are_visible(
    monkeypatch, variable, count, devices
):
    monkeypatch.setattr('torch.cuda.device_count', lambda: count)
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    if variable is not None:
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', variable)

    assert visible_devices() == devices


def emitted(grid, capsys, style):
    """What is printed, and whether all was well."""
    capsys.readouterr()
    complete, shown = run_compare(grid, emit=style)
    assert complete, shown
    return capsys.readouterr().out


def test_emitted_commands_leave_what_the_next_call_records(grid, capsys):
    lines = emitted(grid, capsys, 'commands').splitlines()

    assert len(lines) == 5
    assert not (grid / 'calls.txt').exists()
    for line in lines[:3]:
        subprocess.run(line, shell=True, check=True)
    assert calls(grid) == [
        *('teacher test', 'student seed-0 --resume', 'kd seed-0 --resume')
    ]
    again = emitted(grid, capsys, 'commands').splitlines()
    assert again == lines[3:]
    table = read_table(grid / 'work' / 'runs.csv')
    aps = dict(zip(table.row, table.mAP, strict=True))
    assert aps == {'teacher': 39.6, 'student': 4.0, 'kd': 4.0}
    assert set(table.machine) == {platform.node()}
    # what is still open can run here
    go_on, _ = run_compare(grid)
    assert go_on
    assert len(read_table(grid / 'work' / 'runs.csv')) == 5


def test_a_slurm_array_has_a_task_for_each_run(grid, capsys, monkeypatch):
    script = grid / 'array.sh'
    script.write_text(emitted(grid, capsys, 'slurm'))

    assert '#SBATCH --array=0-4\n' in script.read_text()
    monkeypatch.setenv('SLURM_ARRAY_TASK_ID', '2')
    subprocess.run(['bash', script], check=True)
    assert calls(grid) == ['kd seed-0 --resume']
    assert emitted(grid, capsys, 'commands').count('\n') == 4


def test_an_emitted_run_that_failed_stays_open(grid, capsys):
    flag(grid, 'fail', 'kd')
    lines = emitted(grid, capsys, 'commands').splitlines()

    assert subprocess.run(lines[2], shell=True).returncode
    assert len(emitted(grid, capsys, 'commands').splitlines()) == 5


def test_an_emitted_run_at_work_is_left_alone(grid, capsys):
    flag(grid, 'slow', 'kd')
    change(grid, "config='kd.py'", "config='kd.py', num_seeds=1")
    lines = emitted(grid, capsys, 'commands').splitlines()
    with subprocess.Popen(lines[2], shell=True) as process:
        deadline = time.monotonic() + 30
        while not (grid / 'work/kd/seed-0/last_checkpoint').exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        second = subprocess.run(lines[2], shell=True)
        heard = Heard()
        go(grid, heard)
        (grid / 'slow' / 'kd').unlink()

    assert second.returncode
    assert 'still at work' in heard.errors['kd']
    assert process.returncode == 0
