"""A run that is killed anywhere, or whose disk is full, loses nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch.testing import assert_close

from .crashing import train_in_process

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def config(run_config, tmp_path):
    """Four iterations on shuffled images; every second one is saved."""
    run_config.train_cfg = dict(
        type='IterBasedTrainLoop', max_iters=4, val_interval=100
    )
    run_config.train_dataloader.sampler = dict(
        type='InfiniteSampler', shuffle=True
    )
    run_config.default_hooks.checkpoint = dict(
        type='SafeCheckpointHook', interval=2, by_epoch=False, max_keep_ckpts=1
    )
    run_config.custom_hooks = [
        dict(
            type='DistillationWeightHook',
            warmup=2,
            decay_begin=3,
            by_epoch=False,
        ),
        dict(type='EMAHook', momentum=0.1),
    ]

    def make(name, **changes):
        cfg = Config(run_config.to_dict())
        cfg.merge_from_dict(changes)
        cfg.work_dir = str(tmp_path / name)
        cfg.experiment_name = name
        return cfg.to_dict()

    return make


@pytest.fixture
def whole(config):
    """A run that nothing happens to: its last checkpoint and its events."""
    run = config('whole')
    code, events, message = train_in_process(run)
    assert (code, message) == (0, None)
    return Path(run['work_dir'], 'iter_4.pth'), events


def load(path):
    return torch.load(path, weights_only=False)


def names(run):
    return sorted(path.name for path in Path(run['work_dir']).glob('*iter_*'))


def assert_same_state(run, expected):
    """Weights, adapters, averages, optimizer, schedules: bit for bit."""
    mine, other = load(Path(run['work_dir'], expected.name)), load(expected)
    for part in ('state_dict', 'ema_state_dict', 'optimizer'):
        assert_close(mine[part], other[part], rtol=0, atol=0)
    assert mine['param_schedulers'] == other['param_schedulers']
    adapters, weights = [], []
    for content in (mine, other):
        metadata = content['state_dict']._metadata['']
        adapters.append(metadata['mmwkd_adapters'])
        scalars = content['message_hub']['log_scalars']
        weights.append(scalars['train/distillation_weight'].data[0].tolist())
    assert len(adapters[0]) > 0
    assert_close(*adapters, rtol=0, atol=0)
    assert weights[0] == weights[1] == [0, 0.5, 1, 1]


def resume(run):
    """Resume as the user does who follows the advice; whether it was given."""
    run['resume'] = True
    code, _, message = train_in_process(run)
    advised = message is not None and 'go on from it with --resume' in message
    if advised:
        run['load_from'] = message.rpartition(' ')[2]
        code, _, message = train_in_process(run)
    assert (code, message) == (0, None)
    return advised


def test_killed_at_any_change_of_a_file_and_resumed(config, whole):
    expected, events = whole
    kinds = {event.split()[0] for event in events}
    assert kinds == {'open', 'os.chmod', 'os.rename', 'os.remove'}
    assert events[-1] == 'os.remove iter_2.pth'
    num_advised = 0
    for index in range(len(events)):
        run = config(f'killed_{index}')
        code, _, _ = train_in_process(run, fault='kill', at=index)
        assert code == -signal.SIGKILL
        num_advised += resume(run)
        assert_same_state(run, expected)
        assert '.' not in {name[0] for name in names(run)}  # no leftovers
    # once, the first checkpoint had its name, but nothing named it yet
    assert num_advised == 1


@pytest.mark.parametrize('fault', ['cut', 'full'])
def test_stopped_in_the_middle_of_a_file_and_resumed(config, whole, fault):
    expected, events = whole
    second = [e.startswith('open .iter_4.pth') for e in events].index(True)
    run = config(fault)
    code, _, message = train_in_process(
        run, fault=fault, at=second, limit=expected.stat().st_size // 2
    )
    if fault == 'cut':
        assert code == -signal.SIGXFSZ
        assert [n for n in names(run) if n[0] != '.'] == ['iter_2.pth']
    else:
        assert message.startswith('OSError: [Errno 27] File too large')
        assert names(run) == ['iter_2.pth']
    assert not resume(run)
    assert_same_state(run, expected)
    assert names(run) == ['iter_4.pth']
