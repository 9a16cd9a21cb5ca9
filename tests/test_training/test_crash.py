"""A run that is killed anywhere, or whose disk is full, loses nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from .crashing import train_in_process

ROOT = Path(__file__).resolve().parents[2]
EVERYTHING = [
    dict(
        type='DistillationWeightHook', warmup=2, decay_begin=3, by_epoch=False
    ),
    dict(type='EMAHook', momentum=0.1),
]


@pytest.fixture
def config(run_config, tmp_path):
    """Six iterations of shuffled images; every second one is saved."""
    run_config.train_cfg = dict(
        type='IterBasedTrainLoop', max_iters=6, val_interval=100
    )
    run_config.train_dataloader.sampler = dict(
        type='InfiniteSampler', shuffle=True
    )
    run_config.default_hooks.checkpoint = dict(
        type='SafeCheckpointHook', interval=2, by_epoch=False, max_keep_ckpts=1
    )
    run_config.custom_hooks = EVERYTHING

    def make(name, **changes):
        cfg = run_config.copy()
        cfg.merge_from_dict(changes)
        cfg.work_dir = str(tmp_path / name)
        cfg.experiment_name = name
        return cfg.to_dict()

    return make


def load(path):
    return torch.load(path, weights_only=False)


def assert_same_state(path, expected):
    """Weights, adapters, averages, optimizer and schedules, bit for bit."""
    mine, other = load(path), load(expected)
    for name in ('state_dict', 'ema_state_dict', 'optimizer'):
        torch.testing.assert_close(mine[name], other[name], rtol=0, atol=0)
    assert mine['param_schedulers'] == other['param_schedulers']
    adapters = [
        content['state_dict']._metadata['']['mmwkd_adapters']
        for content in (mine, other)
    ]
    assert adapters[0]
    torch.testing.assert_close(*adapters, rtol=0, atol=0)
    weights = [
        list(content['message_hub']['log_scalars']['train/distillation_weight']
             ._log_history)
        for content in (mine, other)
    ]
    assert weights[0] == weights[1]


def checkpoints(work_dir):
    return sorted(path.name for path in Path(work_dir).glob('*.pth'))


def test_killed_at_any_change_of_a_file_and_resumed(config):
    whole = config('whole')
    code, events, message = train_in_process(whole)
    assert (code, message) == (0, None)
    assert checkpoints(whole['work_dir']) == ['iter_6.pth']
    assert 'os.remove iter_2.pth' in events
    for index, event in enumerate(events):
        broken = config(f'killed_{index}')
        assert train_in_process(broken, kill_at=index)[0] == -signal.SIGKILL
        broken['resume'] = True
        code, _, message = train_in_process(broken)
        if message and 'go on from it with --resume' in message:
            broken['load_from'] = message.rpartition(' ')[2]
            code, _, message = train_in_process(broken)
        assert (code, message) == (0, None), event
        work_dir = Path(broken['work_dir'])
        assert_same_state(
            work_dir / 'iter_6.pth', Path(whole['work_dir'], 'iter_6.pth')
        )
        assert not list(work_dir.glob('.*')), event
