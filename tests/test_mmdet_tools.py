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


@pytest.mark.parametrize('name', ['dist_train.sh', 'dist_test.sh'])
def test_launchers_show_their_usage(name):
    completed = subprocess.run(
        [TOOLS / name], capture_output=True, text=True, check=False
    )
    assert completed.returncode == 2
    assert f'Usage: tools/{name} CONFIG' in completed.stderr
