"""A resumed run repeats the uninterrupted one, random numbers included."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from torch.testing import assert_close

from mmwkd.random_state import generator_states, restore_generators

from .conftest import Spy

pytestmark = pytest.mark.slow

EPOCHS = dict(type='EpochBasedTrainLoop', max_epochs=3, val_interval=2)
ITERATIONS = dict(type='IterBasedTrainLoop', max_iters=9, val_interval=4)


def saving(interval, **options):
    return {
        'default_hooks.checkpoint': dict(
            type='SafeCheckpointHook', interval=interval, **options
        )
    }


BY_EPOCH = saving(1)
BY_ITERATION = saving(1, by_epoch=False)
PERSISTENT = {
    'train_dataloader.num_workers': 1,
    'train_dataloader.persistent_workers': True,
    'train_dataloader.dataset.pipeline.3.prob': 1.0,  # workers draw anew
}
SHUFFLED = {'train_dataloader.sampler': dict(type='InfiniteSampler')}


class Interrupt(Hook):
    """Stop a run as a kill does, before an iteration."""

    def __init__(self, iteration):
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            raise KeyboardInterrupt


@pytest.fixture(scope='module')
def uninterrupted():
    """What runs end with that nobody interrupts, by what they train on."""
    return {}


@pytest.mark.parametrize(
    ('loop', 'changes', 'stop'),
    [
        pytest.param(EPOCHS, BY_EPOCH, 5, id='epochs'),
        pytest.param(EPOCHS, BY_ITERATION, 6, id='within an epoch'),
        pytest.param(EPOCHS, BY_ITERATION, 8, id='end of an epoch'),
        pytest.param(
            EPOCHS, {**BY_EPOCH, **PERSISTENT}, 5, id='persistent workers'
        ),
        pytest.param(
            ITERATIONS, {**BY_ITERATION, **SHUFFLED}, 6, id='iterations'
        ),
        pytest.param(ITERATIONS, BY_ITERATION, 6, id='passes'),
    ],
)
def test_interrupted_and_resumed_equals_uninterrupted(
    random_run, run_config, uninterrupted, tmp_path, loop, changes, stop
):
    run_config.train_cfg = loop
    spies = Spy(), Spy(), Spy()
    data = {k: v for k, v in changes.items() if k.startswith('train_data')}
    key = str((loop, data))
    if key not in uninterrupted:
        run = random_run(tmp_path / 'whole', hooks=spies[:1], **changes)
        uninterrupted[key] = run, spies[0].batches, generator_states()
    whole, batches, after = uninterrupted[key]
    with pytest.raises(KeyboardInterrupt):
        random_run(
            tmp_path / 'parts', hooks=[spies[1], Interrupt(stop)], **changes
        )
    random.random(), np.random.rand(), torch.rand(())
    resumed = random_run(
        tmp_path / 'parts', hooks=spies[2:], resume=True, **changes
    )
    assert spies[1].batches | spies[2].batches == batches
    assert max(spies[2].batches) == max(batches)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name
    assert_close(
        resumed.optim_wrapper.state_dict(),
        whole.optim_wrapper.state_dict(),
        rtol=0,
        atol=0,
    )
    for name, state in generator_states().items():
        assert str(state) == str(after[name]), name


def test_validation_draws_none_of_the_numbers_of_training(
    random_run, tmp_path
):
    runs = [
        random_run(
            tmp_path / str(interval),
            **saving(5),
            train_cfg=dict(max_epochs=2, val_interval=interval),
        )
        for interval in (1, 2)
    ]
    often, rarely = (run.model.state_dict() for run in runs)
    assert_close(often, rarely, rtol=0, atol=0)


def test_another_number_of_iterations_starts_the_epoch_over(
    random_run, tmp_path
):
    changes = {**BY_ITERATION, 'log_level': 'WARNING'}
    with pytest.raises(KeyboardInterrupt):
        random_run(tmp_path / 'run', hooks=[Interrupt(6)], **changes)
    spy = Spy()
    runner = random_run(
        tmp_path / 'run',
        hooks=[spy],
        resume=True,
        **changes,
        **{'train_dataloader.batch_size': 4},
    )
    assert runner.epoch == 2
    assert min(spy.batches) == 6
    logs = Path(tmp_path / 'run').glob('*/*.log')
    said = ''.join(log.read_text() for log in logs)
    assert '1 processes with 4 iterations in an epoch, here are 1 with 2' in (
        said
    )


def test_checkpoints_of_other_hooks_are_resumed_as_ever(random_run, tmp_path):
    plain = {'default_hooks.checkpoint.type': 'CheckpointHook'}
    with pytest.raises(KeyboardInterrupt):
        random_run(tmp_path / 'run', hooks=[Interrupt(5)], **plain)
    runner = random_run(tmp_path / 'run', resume=True, **BY_EPOCH)
    assert runner.epoch == 2


def test_states_are_plain_data(tmp_path):
    path = tmp_path / 'states.pth'
    torch.save(generator_states(), path)
    drawn = random.random(), np.random.rand(), torch.rand(())
    restore_generators(torch.load(path, weights_only=True))
    assert (random.random(), np.random.rand(), torch.rand(())) == drawn
