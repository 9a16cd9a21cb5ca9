import contextlib
import runpy
import subprocess
import sys
from pathlib import Path

import mmdet
import pytest
from torch import distributed

from mmwkd import mmdet_tools
from mmwkd.mmdet_tools import mmdet_tool

TOOLS = Path(__file__).resolve().parents[1] / 'tools'


def test_mmdet_ships_its_tools():
    assert mmdet_tool('train.py').is_file()


def test_an_mmdet_without_tools_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(mmdet, '__file__', str(tmp_path / '__init__.py'))
    with pytest.raises(FileNotFoundError, match='install mmdet with pip'):
        mmdet_tool('train.py')


@pytest.mark.parametrize(
    'name',
    [
        'train.py',
        'test.py',
        'export_student.py',
        'estimate_cost_matrix.py',
        'inspect_cost_matrix.py',
        'inspect_transport.py',
    ],
)
def test_tools_show_their_help(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [name, '--help'])
    monkeypatch.setenv('LOCAL_RANK', '0')  # mmdet's tools set it for good
    with contextlib.suppress(SystemExit):
        runpy.run_path(str(TOOLS / name), run_name='__main__')
    assert 'usage:' in capsys.readouterr().out


@pytest.mark.parametrize('code', [None, 0, 75])
def test_the_code_of_a_tool_is_passed_on(tmp_path, monkeypatch, code, group):
    """And the process group has ended by then."""
    path = tmp_path / 'tool.py'
    path.write_text(f'import sys\nsys.exit({code})\n')
    monkeypatch.setattr(mmdet_tools, 'mmdet_tool', lambda name: path)
    if code:
        with pytest.raises(SystemExit) as end:
            mmdet_tools.run_mmdet_tool('tool.py')
        assert end.value.code == code
    else:
        mmdet_tools.run_mmdet_tool('tool.py')
    assert not distributed.is_initialized()
    distributed.init_process_group(  # which the fixture ends
        'gloo', store=distributed.HashStore(), rank=0, world_size=1
    )


@pytest.mark.parametrize(
    'name',
    ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh'],
)
def test_launchers_show_their_usage(name):
    completed = subprocess.run(
        [TOOLS / name], capture_output=True, text=True, check=False
    )
    assert completed.returncode == 2
    assert f'Usage: tools/{name} ' in completed.stderr


@pytest.mark.parametrize(
    ('name', 'last', 'command'),
    [
        ('slurm_train.sh', 'run', 'train.py c.py --work-dir run'),
        ('slurm_test.sh', 'w.pth', 'test.py c.py w.pth'),
    ],
)
def test_slurm_is_asked_for_what_was_set(tmp_path, name, last, command):
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\necho "$@"\n')
    srun.chmod(0o755)
    completed = subprocess.run(
        [TOOLS / name, 'gpus', 'job', 'c.py', last, '--cfg-options', 'a=1'],
        env={
            'PATH': f'{tmp_path}:/usr/bin:/bin',
            'GPUS': '16',
            'SRUN_ARGS': '--time=1:00 --qos=x',
        },
        capture_output=True,
        text=True,
        check=True,
    )
    words = completed.stdout
    assert '-p gpus --job-name=job --gres=gpu:8 --ntasks=16 ' in words
    assert '--time=1:00 --qos=x python -u' in words
    assert f'{command} --launcher slurm --cfg-options a=1' in words


def test_compiling_shows_how_far_it_is():
    steps = ''.join(f'[{n}/40] cc\n' for n in range(1, 41))
    shown = subprocess.run(
        [sys.executable, TOOLS / 'install_progress.py'],
        input=f'noise\n{steps}Successfully installed mmcv\n',
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert len(shown) == 12  # one for each tenth
    assert 'compiled 40 of 40 files' in shown[-2]
    assert shown[-1].strip() == 'Successfully installed mmcv'


ONE_RANK = """
from pathlib import Path
import torch
from torch import distributed
from mmwkd.mmdet_tools import end_process_group

def threads():
    return {path.read_text().strip() for path in
            Path('/proc/self/task').glob('*/comm')}

store = distributed.HashStore()
distributed.init_process_group('gloo', store=store, rank=0, world_size=1)
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 2))
model(torch.ones(1, 2)).sum().backward()
runner = {'model': model}
runner['self'] = runner
if not any('gloo' in name for name in threads()):
    raise SystemExit('threads have no names')
del model, runner
end_process_group()
assert not any('gloo' in name for name in threads()), threads()
"""


@pytest.mark.skipif(
    not Path('/proc/self/task').is_dir(), reason='needs the threads of /proc'
)
def test_no_thread_of_gloo_outlives_its_process_group():
    completed = subprocess.run(
        [sys.executable, '-c', ONE_RANK],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if 'threads have no names' in completed.stderr:
        pytest.skip('this torch does not name the threads of gloo')
    assert completed.returncode == 0, completed.stderr
