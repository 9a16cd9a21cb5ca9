"""A run that is killed anywhere, or whose disk is full, loses nothing."""

import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch.testing import assert_close

from mmwkd.distillers.checkpoint import find_damage
from mmwkd.hooks.safe_checkpoint_hook import (
    SafeCheckpointHook,
    checkpoint_to_resume,
)

from .conftest import environment
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
    run['resume'] = True
    code, _, message = train_in_process(run)
    assert (code, message) == (0, None)


@pytest.mark.slow
def test_killed_at_any_change_of_a_file_and_resumed(config, whole):
    expected, events = whole
    kinds = {event.split()[0] for event in events}
    assert kinds == {'open', 'os.chmod', 'os.rename', 'os.remove'}
    assert events[-1] == 'os.remove iter_2.pth'
    for index in range(len(events)):
        run = config(f'killed_{index}')
        code, _, _ = train_in_process(run, fault='kill', at=index)
        assert code == -signal.SIGKILL
        resume(run)
        assert_same_state(run, expected)
        assert '.' not in {name[0] for name in names(run)}  # no leftovers


@pytest.mark.slow
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
        path = Path(run['work_dir'], 'iter_4.pth')
        assert message == f"OSError: [Errno 27] File too large: '{path}'"
        assert names(run) == ['iter_2.pth']
    resume(run)
    assert_same_state(run, expected)
    assert names(run) == ['iter_4.pth']


def break_file(path, how):
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    if how == 'cut short':
        del content[middle:]
    elif how == 'empty':
        content.clear()
    elif how == 'checksum':  # what a power failure leaves: a hole of zeros
        content[middle : middle + 4096] = bytes(4096)
    path.write_bytes(content)


@pytest.fixture
def folder(tmp_path):
    """A run's folder with three checkpoints; the third is the latest."""
    for name in ('epoch_9.pth', 'epoch_10.pth', 'epoch_11.pth', 'best_12.pth'):
        torch.save(
            dict(state_dict=dict(weight=torch.ones(9000))), tmp_path / name
        )
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_11.pth'))
    return tmp_path


def choose(folder):
    return checkpoint_to_resume(
        str(folder), str(folder), re.compile(r'epoch_(\d+)\.pth')
    )


@pytest.mark.parametrize('how', ['cut short', 'empty', 'checksum'])
def test_damaged_latest_checkpoint_is_refused_with_advice(folder, how):
    assert choose(folder) == str(folder / 'epoch_11.pth')
    break_file(folder / 'epoch_11.pth', how)
    good = re.escape(str(folder / 'epoch_10.pth'))
    advice = f'newest intact one is {good}; go on from it with --resume {good}'
    with pytest.raises(
        ValueError,
        match=f'epoch_11.pth, named by .*damaged: .*{how}.* The {advice}$',
    ):
        choose(folder)
    break_file(folder / 'epoch_10.pth', how)
    with pytest.raises(ValueError, match='--resume .*epoch_9.pth$'):
        choose(folder)
    break_file(folder / 'epoch_9.pth', how)
    with pytest.raises(
        ValueError, match=f'No checkpoint in {folder} is intact; start over'
    ):
        choose(folder)


def test_missing_latest_checkpoint_is_refused_with_advice(folder):
    (folder / 'epoch_11.pth').unlink()
    with pytest.raises(ValueError, match='epoch_11.* exist.*epoch_10.pth$'):
        choose(folder)
    (folder / 'last_checkpoint').write_text('s3://bucket/epoch_3.pth')
    assert choose(folder) == 's3://bucket/epoch_3.pth'


def test_without_a_named_checkpoint_the_newest_intact_is_resumed(folder):
    break_file(folder / 'epoch_11.pth', 'checksum')
    (folder / 'last_checkpoint').write_text('')  # a kill while it is written
    assert choose(folder) == str(folder / 'epoch_10.pth')
    (folder / 'last_checkpoint').unlink()  # a kill before it is written
    assert choose(folder) == str(folder / 'epoch_10.pth')
    for path in folder.glob('epoch_*'):
        path.unlink()
    assert choose(folder) is None  # a run that has not begun


@pytest.fixture
def safe_run(train, run_config, tmp_path):
    """A finished run, its checkpoints epoch_1.pth and epoch_2.pth."""
    run_config.default_hooks.checkpoint.update(
        type='SafeCheckpointHook', save_best='coco/bbox_mAP', rule='greater'
    )
    run_config.train_cfg.val_interval = 9
    run_config.val_cfg = run_config.val_dataloader = None
    run_config.val_evaluator = None
    return train(tmp_path / 'run')


def test_a_run_of_other_parameters_is_not_resumed(safe_run, train):
    adapter = {'model.neck_adapter': dict(norm_cfg=dict(type='BN'))}
    with pytest.raises(
        ValueError, match='now there are .* load_from in place'
    ):
        train(safe_run.work_dir, resume=True, **adapter)


def test_numbers_of_checkpoints_may_be_padded(train, run_config, tmp_path):
    run_config.default_hooks.checkpoint.update(
        type='SafeCheckpointHook', filename_tmpl='epoch_{:03d}.pth'
    )
    run_config.train_cfg.update(max_epochs=1)
    train(tmp_path / 'run')
    run_config.train_cfg.update(max_epochs=2)
    resumed = train(tmp_path / 'run', resume=True)
    assert resumed._load_from.endswith('epoch_001.pth')
    assert Path(resumed.work_dir, 'epoch_002.pth').exists()


def test_damage_is_found_before_anything_is_loaded(safe_run, train):
    latest = Path(safe_run.work_dir, 'epoch_2.pth')
    break_file(latest, 'checksum')
    load(latest)  # torch does not notice
    with pytest.raises(ValueError, match=r'go on from it .*epoch_1\.pth$'):
        train(safe_run.work_dir, resume=True)
    with pytest.raises(ValueError, match=r'epoch_2\.pth is damaged: its entr'):
        train(safe_run.work_dir, load_from=str(latest))


def test_best_checkpoint_stays_until_a_better_one_is_written(
    safe_run, monkeypatch
):
    folder = Path(safe_run.work_dir)
    (hook,) = (h for h in safe_run.hooks if isinstance(h, SafeCheckpointHook))

    def score(ap, epoch):
        safe_run.train_loop._epoch = epoch
        hook.after_val_epoch(safe_run, {'coco/bbox_mAP': ap})

    def best():
        return [path.name for path in folder.glob('best*')]

    score(0.1, epoch=1)
    first = ['best_coco_bbox_mAP_epoch_1.pth']
    assert best() == first
    with monkeypatch.context() as patch:
        patch.setattr(os, 'fsync', full_disk)
        with pytest.raises(OSError, match='No space left'):
            score(0.2, epoch=2)
    assert best() == first
    hook.best_ckpt_path = str(folder / first[0])
    score(0.3, epoch=1)  # written anew: not removed as its own predecessor
    assert best() == first
    score(0.4, epoch=2)
    assert best() == ['best_coco_bbox_mAP_epoch_2.pth']


def full_disk(*args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.slow
@pytest.mark.parametrize('name', ['SIGTERM', 'SIGINT'])
def test_signalled_tool_leaves_a_run_that_can_be_resumed(
    run_config, train, tmp_path, name
):
    run_config.default_hooks.checkpoint.type = 'SafeCheckpointHook'
    run_config.train_cfg.update(max_epochs=1000, val_interval=2000)
    run_config.dump(tmp_path / 'config.py')
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
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # a suite run in the background has it ignored, and so would this
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 240
        while not (work_dir / 'epoch_2.pth').exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.Signals[name])
        assert process.wait(timeout=240) != 0
    finally:
        process.kill()
    saved = sorted(work_dir.glob('*.pth'))
    assert [path.name for path in saved if find_damage(path)] == []
    changes = {'train_cfg.max_epochs': 1}  # what there is: nothing to add
    # the first, if the signal came before the second was pointed to
    assert train(work_dir, resume=True, **changes).epoch >= 1
