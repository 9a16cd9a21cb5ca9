"""A run that a cluster stops with a signal ends in order, and goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from mmwkd.distillers.checkpoint import find_damage
from mmwkd.hooks import PreemptionHook

from .conftest import ROOT, Spy, environment, free_port
from .crashing import train_in_ranks
from .signals import SignalInStep

pytestmark = pytest.mark.several_processes

EPOCHS = dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=1)
ITERATIONS = dict(type='IterBasedTrainLoop', max_iters=6, val_interval=3)
TEMPORARY_FAILURE = 75
NUMBERS = signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD


@pytest.fixture
def config(run_config):
    run_config.default_hooks.checkpoint = dict(
        type='SafeCheckpointHook', interval=5
    )
    run_config.custom_hooks = [
        dict(type='PreemptionHook'),
        dict(type='EMAHook', momentum=0.1),
    ]
    return run_config


def load(path):
    return torch.load(path, weights_only=False)


@pytest.fixture(scope='module')
def undisturbed():
    """Runs that get no signal, and their batches, by their loops."""
    return {}


@pytest.mark.parametrize(
    ('loop', 'event', 'stops_at'),
    [
        pytest.param(EPOCHS, dict(at=1), 2, id='within an epoch'),
        # behind which the epoch is validated
        pytest.param(EPOCHS, dict(at=3), 4, id='end of an epoch'),
        pytest.param(EPOCHS, dict(mode='val'), 4, id='validation'),
        pytest.param(ITERATIONS, dict(at=3), 4, id='iterations'),
        pytest.param(ITERATIONS, dict(at=5), 6, id='last iteration'),
        pytest.param(ITERATIONS, dict(at=1, name='SIGTERM'), 2, id='SIGTERM'),
    ],
)
def test_a_stopped_run_goes_on_as_if_it_had_not_been(
    config, random_run, undisturbed, tmp_path, loop, event, stops_at
):
    config.train_cfg = loop
    if loop is ITERATIONS:
        config.train_dataloader.sampler.type = 'InfiniteSampler'
    handlers = [signal.getsignal(number) for number in NUMBERS]
    spies = Spy(), Spy(), Spy()
    if loop['type'] not in undisturbed:
        run = random_run(tmp_path / 'whole', hooks=spies[:1])
        undisturbed[loop['type']] = run, spies[0].batches
    whole, batches = undisturbed[loop['type']]
    parts = tmp_path / 'parts'
    with pytest.raises(SystemExit) as end:
        random_run(parts, hooks=[spies[1], SignalInStep(**event)])
    assert end.value.code == TEMPORARY_FAILURE
    saved = load(parts / 'preempted.pth')
    assert saved['meta']['iter'] == stops_at == max(spies[1].batches) + 1
    assert Path((parts / 'last_checkpoint').read_text()) == (
        parts / 'preempted.pth'
    )
    torch.rand(())
    resumed = random_run(parts, hooks=spies[2:], resume=True)
    assert spies[1].batches | spies[2].batches == batches
    assert resumed.iter == whole.iter
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name
    assert [signal.getsignal(number) for number in NUMBERS] == handlers


def test_an_interrupted_validation_is_repeated(config, random_run, tmp_path):
    config.train_cfg = dict(EPOCHS, max_epochs=1)
    evaluated = []

    class Evaluated(Spy):
        def after_val_epoch(self, runner, metrics=None):
            evaluated.append(runner.epoch)

    with pytest.raises(SystemExit):
        random_run(
            tmp_path / 'run', hooks=[Evaluated(), SignalInStep(mode='val')]
        )
    assert evaluated == []
    runner = random_run(tmp_path / 'run', hooks=[Evaluated()], resume=True)
    assert evaluated == [1]
    assert runner.iter == 4


@pytest.mark.slow
@pytest.mark.parametrize('rank', [0, 1])
def test_ranks_stop_together_whoever_got_the_signal(config, tmp_path, rank):
    """Four epochs of two iterations; all ranks are still in step."""
    config.train_cfg = dict(EPOCHS, max_epochs=4)
    config.train_dataloader.sampler.shuffle = True
    config.experiment_name = 'ranks'
    event = dict(type='SignalInStep', at=2, rank=rank)
    whole, parts = config.to_dict(), config.to_dict()
    whole.update(work_dir=str(tmp_path / 'whole'))
    assert train_in_ranks(whole, free_port()) == [0, 0]
    parts['custom_hooks'] = [event, *parts['custom_hooks']]
    assert train_in_ranks(parts, free_port()) == 2 * [TEMPORARY_FAILURE]
    saved = load(tmp_path / 'run' / 'preempted.pth')
    assert saved['meta']['iter'] == 3  # the one in which it came
    assert len(saved['mmwkd_progress']['generators']) == 2
    parts.update(resume=True, custom_hooks=whole['custom_hooks'])
    assert train_in_ranks(parts, free_port()) == [0, 0]
    last = 'epoch_4.pth'
    resumed, expected = (
        load(tmp_path / 'run' / last),
        load(tmp_path / 'whole' / last),
    )
    assert resumed['meta']['iter'] == 8
    for part in ('state_dict', 'ema_state_dict', 'optimizer'):
        assert_close(resumed[part], expected[part], rtol=0, atol=0)


def test_without_a_hook_that_saves_whole_files_it_is_refused(config, train):
    config.default_hooks.checkpoint.type = 'CheckpointHook'
    with pytest.raises(ValueError, match="type='SafeCheckpointHook'"):
        train()


@pytest.mark.parametrize('signals', ['SIGTERM', ['SIGTREM']])
def test_unknown_signals_are_refused(signals):
    with pytest.raises(ValueError, match=f'SIGTERM, got .*{signals[-1]}'):
        PreemptionHook(signals=signals)


@pytest.mark.slow
def test_a_signal_to_the_whole_job_ends_the_tool_with_its_code(
    config, train, tmp_path
):
    """Slurm tells every process, those that load data included."""
    config.train_cfg = dict(EPOCHS, max_epochs=1000, val_interval=2000)
    config.train_dataloader.update(num_workers=2, persistent_workers=True)
    config.dump(tmp_path / 'config.py')
    work_dir = tmp_path / 'run'
    process = subprocess.Popen(
        [
            sys.executable,
            ROOT / 'tools' / 'train.py',
            tmp_path / 'config.py',
            '--work-dir',
            work_dir,
        ],
        env=environment(),
        start_new_session=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        deadline = time.monotonic() + 240
        while not (work_dir / 'epoch_5.pth').exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == TEMPORARY_FAILURE, output[-3000:]
    assert find_damage(work_dir / 'preempted.pth') is None
    done = load(work_dir / 'preempted.pth')['meta']['iter']
    resumed = train(work_dir, resume=True, **{'train_cfg.max_epochs': 1})
    assert resumed.iter == done
