"""Small stand-ins for what trainings read and log."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from studies.grid.accuracy import Accuracy
from studies.grid.table import Record, add_record, read_table


def scalars_text(iterations, **extra):
    """What mmengine logs: a line for training, then one of validation."""
    lines = []
    for iteration in iterations:
        train = {
            'lr': 0.04,
            'loss': 3.0 / iteration + sum(extra.values()),
            'loss_cls': 2.0 / iteration,
            'loss_bbox': 1.0 / iteration,
            **extra,
            'acc': 93.0,
            'iter': iteration,
            'step': iteration,
        }
        validation = {
            'coco/bbox_mAP': iteration / 1000,
            'coco/bbox_mAP_50': iteration / 500,
            'coco/bbox_mAP_75': iteration / 2000,
            'coco/bbox_mAP_s': iteration / 4000,
            'coco/bbox_mAP_m': iteration / 1000,
            'coco/bbox_mAP_l': -1.0,
            'time': 0.1,
            'step': iteration,
        }
        lines += [json.dumps(train), json.dumps(validation)]
    return '\n'.join(lines) + '\n'


def make_record(row, seed, ap, **changes):
    values = dict(
        row=row,
        role='baseline' if row == 'student' else 'method',
        dataset='minicoco',
        seed=seed,
        accuracy=Accuracy(ap, ap + 20.3, ap - 4.1, None, ap + 1, ap + 2),
        iterations=40,
        train_seconds=100.0,
        curve=((20, ap / 2), (40, ap)),
        config=f'configs/{row}.py',
        options=('model.a=1', 'b.c=two words'),
        config_hash=f'hash of {row}',
        commit='0123456789',
        machine='A CPU, 2 cores',
        threads=1,
        jobs=2,
        date='2020-02-02T20:20:20+00:00',
    )
    return Record(**{**values, **changes})


def table_of(records):
    """The table that has some records."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / 'runs.csv'
        for record in records:
            add_record(path, record)
        return read_table(path)


def teacher_record(ap):
    return make_record(
        'teacher', None, ap, role='teacher', iterations=0, curve=()
    )


# A config of the least that a plan looks at
CONFIG = """
model = dict(type='Detector', depth=18)
train_cfg = dict(max_iters=40)
default_hooks = dict(logger=dict(type='LoggerHook'))
_dataset = dict(
    data_root='data/',
    ann_file='train.json',
    data_prefix=dict(img='images/'),
)
train_dataloader = dict(dataset=dict(type='Repeat', dataset=_dataset))
val_dataloader = dict(dataset=_dataset)
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', metric='bbox')
test_evaluator = val_evaluator
"""

GRID = """
_helper = 'not a key'
dataset = 'minicoco'
seeds = [0, 1]
teacher = dict(config='big.py', checkpoint='big.pth')
cfg_options = {'model.teacher.checkpoint': 'big.pth'}
baseline = 'student'
rows = dict(
    student=dict(config='student.py'),
    kd=dict(config='kd.py', cfg_options={'model.loss.weight': 2.0}),
)
"""


@pytest.fixture
def repo(tmp_path):
    """A folder with configs, data, a teacher and a grid."""
    root = tmp_path / 'repo'
    (root / 'data' / 'images').mkdir(parents=True)
    (root / 'data' / 'train.json').write_text('{}')
    (root / 'big.pth').write_text('weights')
    (root / 'big.py').write_text(CONFIG.replace('18', '50'))
    (root / 'student.py').write_text(CONFIG)
    (root / 'kd.py').write_text(
        CONFIG + "model['teacher'] = dict(checkpoint=None)\n"
        "model['loss'] = dict(type='KDLoss')\n"
    )
    (root / 'grid.py').write_text(GRID)
    return root
