"""What a wheel brings, and that it works away from the checkout."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from mmengine.hub import get_config

from mmwkd.testing import tiny_faster_rcnn
from tests.test_commands.pairs import write_pair

ROOT = Path(__file__).resolve().parents[1]

CLASSIC = """
_base_ = ['./student.py', 'mmwkd::_base_/losses/wkd.py']

custom_imports = dict(imports=['mmwkd'])
model = dict(
    _delete_=True,
    type='DetectorDistiller',
    student=_base_.model,
    teacher=dict(config='teacher.py', checkpoint='teacher.pth'),
    logit_loss=_base_.logit_loss,
    roi_loss=dict(_base_.roi_loss, loss_weight=2 / 32),
)
"""

PURE = """
from mmengine.config import read_base

with read_base():
    from mmwkd._base_.losses.wkd import roi_loss

    from .pure_student import *

from mmwkd import DetectorDistiller

student = model
model = dict(
    type=DetectorDistiller,
    student=student,
    teacher=dict(config='teacher.py', checkpoint='teacher.pth'),
    roi_loss=dict(roi_loss, loss_weight=2 / 32),
)
"""

# one process, since loading PyTorch takes longer than all of it
SCRIPT = """
import sys
import mmwkd
from mmwkd.cli import main
print('from', mmwkd.__file__)
words = 'distil student.py --teacher teacher.py teacher.pth --train'
short = ['--cfg-options', 'train_cfg.max_iters=1']
for command in (words, 'train classic.py', 'train pure.py'):
    sys.argv[1:] = []
    assert main([*command.split(), *short]) == 0, command
"""


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp('wheel')
    pip(
        'wheel',
        '--no-deps',
        '--no-build-isolation',
        '--wheel-dir',
        folder,
        copied_sources(tmp_path_factory.mktemp('sources')),
    )
    (path,) = folder.glob('*.whl')
    return path


def copied_sources(folder):
    """What the wheel is built from; building writes beside it."""
    names = ['mmwkd', 'configs', 'tools', 'pyproject.toml', 'README.md']
    for name in [*names, 'LICENSE', 'model-index.yml']:
        (folder / name).symlink_to(ROOT / name)
    return folder


def pip(*arguments):
    subprocess.run(
        [sys.executable, '-m', 'pip', '-q', *map(str, arguments)],
        check=True,
        timeout=300,
    )


@pytest.mark.slow
def test_a_wheel_distils_away_from_the_checkout(wheel, tmp_path):
    site, folder = tmp_path / 'site', tmp_path / 'work'
    pip('install', '--no-deps', '--no-index', '--target', site, wheel)
    folder.mkdir()
    write_pair(
        folder,
        tiny_faster_rcnn(),
        tiny_faster_rcnn(base_channels=16, neck_channels=32),
    )
    (folder / 'classic.py').write_text(CLASSIC)
    (folder / 'pure.py').write_text(PURE)
    student = (folder / 'student.py').read_text()
    (folder / 'pure_student.py').write_text(
        f'from mmdet.models import FPN\n{student}'
    )
    completed = subprocess.run(
        [sys.executable, '-c', SCRIPT],
        cwd=folder,
        env={
            **os.environ,
            'PYTHONPATH': f'{site}:{ROOT}/tests/quick_dump',
            'OMP_NUM_THREADS': '1',
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert f'from {site}' in completed.stdout
    for name in ('my_distillation', 'classic', 'pure'):
        assert (folder / 'work_dirs' / name / 'iter_1.pth').exists()


@pytest.mark.slow
def test_a_wheel_has_what_mim_runs_and_nothing_of_our_studies(wheel):
    names = ZipFile(wheel).namelist()
    for name in ('train.py', 'dist_train.sh', 'slurm_train.sh'):
        assert f'mmwkd/.mim/tools/{name}' in names
    assert 'mmwkd/.mim/configs/_base_/losses/wkd.py' in names
    datasets = 'minicoco', 'iconcoco', 'photos'
    for part in (*datasets, 'demo', 'compare.py', 'studies'):
        assert not [name for name in names if part in name]


def test_the_index_names_all_configs_of_coco():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    listed = {
        model['Config']
        for file in index['Import']
        for model in yaml.safe_load((ROOT / file).read_text())['Models']
    }
    assert listed == {
        str(path.relative_to(ROOT))
        for path in ROOT.glob('configs/*/*_coco.py')
        if not path.parent.name.startswith('_')
    }


def test_configs_are_found_as_those_of_a_package():
    config = get_config(
        'mmwkd::rtmdet/wkd-ln_rtmdet_tiny-from-s_8xb32-300e_coco.py'
    )
    assert config.model.type == 'DetectorDistiller'
