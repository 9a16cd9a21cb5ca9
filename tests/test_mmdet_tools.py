import subprocess
import sys
from pathlib import Path

import mmdet
import pytest

from mmwkd.mmdet_tools import mmdet_tool

TOOLS = Path(__file__).resolve().parents[1] / 'tools'


def test_mmdet_ships_its_tools():
    assert mmdet_tool('train.py').is_file()


def test_an_mmdet_without_tools_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(mmdet, '__file__', str(tmp_path / '__init__.py'))
    with pytest.raises(FileNotFoundError, match='install mmdet with pip'):
        mmdet_tool('train.py')


@pytest.mark.slow
@pytest.mark.parametrize('name', ['train.py', 'test.py', 'export_student.py'])
def test_tools_show_their_help(name):
    completed = subprocess.run(
        [sys.executable, TOOLS / name, '--help'],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    assert 'usage:' in completed.stdout


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
assert any('gloo' in name for name in threads()), threads()
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
    assert completed.returncode == 0, completed.stderr
