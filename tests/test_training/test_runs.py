"""Distillation under mmengine's runner: the guarantees that need a run."""

import copy
import logging
from unittest.mock import MagicMock

import pytest
import torch
from mmdet.datasets.samplers import MultiSourceSampler
from mmdet.registry import MODELS
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.hooks import Hook
from mmengine.runner import load_checkpoint
from torch.testing import assert_close

from mmwkd.distillers import DetectorDistiller
from mmwkd.hooks import DistillationWeightHook, distillation_weight_hook

from .conftest import student_config

SCHEDULE = dict(
    type='DistillationWeightHook', warmup=2, stop=6, by_epoch=False
)


def load(path):
    return torch.load(path, weights_only=False)


def test_checkpoint_is_the_plain_students(finished, caplog):
    path = f'{finished.work_dir}/epoch_2.pth'
    plain = MODELS.build(student_config())
    with caplog.at_level(logging.WARNING):
        load_checkpoint(plain, path, map_location='cpu', strict=True)
    assert_close(plain.state_dict(), finished.model.student.state_dict())
    assert not any('teacher' in key for key in load(path)['state_dict'])


def test_checkpoint_is_no_larger_than_the_plain_students(finished):
    content = load(f'{finished.work_dir}/epoch_2.pth')
    in_file = sum(value.numel() for value in content['state_dict'].values())
    plain = sum(
        value.numel()
        for value in MODELS.build(student_config()).state_dict().values()
    )
    assert in_file == plain


def test_optimizer_has_no_teacher(finished):
    trained = {
        id(p)
        for group in finished.optim_wrapper.param_groups
        for p in group['params']
    }
    assert trained == {id(p) for p in finished.model.parameters()}
    assert not trained & {id(p) for p in finished.model.teacher.parameters()}


class Interrupt(Hook):
    """Stop training before an epoch, as a killed job does."""

    def before_train_epoch(self, runner):
        if runner.epoch == 1:
            raise KeyboardInterrupt


def test_interrupted_and_resumed_equals_uninterrupted(train, tmp_path):
    whole = train(tmp_path / 'whole', custom_hooks=[SCHEDULE])
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / 'parts', hooks=[Interrupt()], custom_hooks=[SCHEDULE])
    # other seeds draw other initial weights, which resuming must overwrite
    resumed = train(
        tmp_path / 'parts',
        custom_hooks=[SCHEDULE],
        resume=True,
        randomness=dict(seed=None),
    )
    for name, value in whole.model.named_parameters():
        assert torch.equal(resumed.model.get_parameter(name), value), name
    assert resumed.model._factor == whole.model._factor < 1


def test_weight_schedule_follows_the_iterations(train):
    seen = []

    class Spy(Hook):
        priority = 'LOWEST'

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            seen.append(runner.model._factor)

    train(hooks=[Spy()], custom_hooks=[SCHEDULE])
    assert seen == [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ('sampler', 'batches'),
    [
        (DefaultSampler, 3),  # of 8 processes each has its share
        (InfiniteSampler, 24),  # each draws from all images
        (MultiSourceSampler, 24),
    ],
)
def test_an_epoch_is_one_of_all_processes(sampler, batches, monkeypatch):
    monkeypatch.setattr(distillation_weight_hook, 'get_world_size', lambda: 8)
    loader = MagicMock(sampler=MagicMock(spec=sampler))
    loader.__len__.return_value = batches
    model = MagicMock(spec=DetectorDistiller)
    runner = MagicMock(
        iter=3, max_iters=30, train_dataloader=loader, model=model
    )

    DistillationWeightHook(stop=1).before_train_iter(runner, 0)

    model.set_distillation_weight.assert_called_once_with(0.0)


@pytest.fixture
def said(monkeypatch):
    """What the hook logs."""
    texts = []
    monkeypatch.setattr(
        distillation_weight_hook,
        'print_log',
        lambda text, *a, **b: texts.append(text),
    )
    return texts


def test_a_stop_that_never_comes_is_said(said):
    runner = MagicMock(max_iters=30, model=MagicMock(spec=DetectorDistiller))

    DistillationWeightHook(stop=30, by_epoch=False).before_train(runner)
    assert said == []
    DistillationWeightHook(stop=400, by_epoch=False).before_train(runner)

    (text,) = said
    assert 'stop (400) lies beyond the end of training (30 iter' in text


@pytest.mark.parametrize('options', [dict(stop=0), dict(warmup=3, stop=1)])
def test_a_weight_that_is_never_whole_is_said(said, options):
    runner = MagicMock(max_iters=30, model=MagicMock(spec=DetectorDistiller))
    hook = DistillationWeightHook(by_epoch=False, **options)
    hook.before_train(runner)
    (text,) = said
    assert f'stops at {options["stop"]} iterations, and never has' in text


def test_two_weight_hooks_are_refused(train):
    second = dict(SCHEDULE, warmup=0)
    with pytest.raises(ValueError, match='of which the last would win'):
        train(custom_hooks=[SCHEDULE, second])


def test_weight_hook_refuses_a_plain_detector(train):
    with pytest.raises(ValueError, match='the model is a FasterRCNN'):
        train(
            model=dict(_delete_=True, **student_config()),
            custom_hooks=[SCHEDULE],
        )


def test_load_from_a_plain_student(train, tmp_path):
    torch.manual_seed(7)
    plain = MODELS.build(student_config())
    path = tmp_path / 'plain.pth'
    torch.save(dict(state_dict=plain.state_dict(), meta={}), path)
    loaded = []

    class Spy(Hook):
        def before_train_epoch(self, runner):
            loaded.append(
                {
                    key: value.clone()
                    for key, value in runner.model.state_dict().items()
                }
            )
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(hooks=[Spy()], load_from=str(path))
    assert_close(loaded[0], dict(plain.state_dict()))


def test_ema_shares_the_teacher_and_saves_plain_students(train, tmp_path):
    ema = dict(type='EMAHook', momentum=0.1)
    runner = train(tmp_path / 'whole', custom_hooks=[ema])
    hook = next(h for h in runner.hooks if type(h).__name__ == 'EMAHook')
    assert hook.ema_model.module.teacher is runner.model.teacher
    content = load(f'{runner.work_dir}/epoch_2.pth')
    plain = MODELS.build(student_config())
    plain.load_state_dict(content['state_dict'], strict=True)
    averaged = hook.ema_model.module.student.state_dict()
    assert_close(plain.state_dict(), averaged)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / 'parts', hooks=[Interrupt()], custom_hooks=[ema])
    resumed = train(tmp_path / 'parts', custom_hooks=[ema], resume=True)
    for name, value in runner.model.named_parameters():
        assert torch.equal(resumed.model.get_parameter(name), value), name


def test_gradient_clipping_covers_the_adapters(train):
    initial = {}

    class Spy(Hook):
        def before_train_epoch(self, runner):
            initial.update(copy.deepcopy(runner.model.adapters.state_dict()))

    runner = train(
        hooks=[Spy()],
        train_cfg=dict(max_epochs=1, val_interval=5),
        **{
            'optim_wrapper.clip_grad': dict(max_norm=1e-9),
            'param_scheduler': [],
        },
    )
    assert initial
    moved = runner.model.adapters.state_dict()
    assert_close(moved, initial, rtol=0, atol=1e-8)
    assert 'train/grad_norm' in runner.message_hub.log_scalars


def test_validation_scores_the_student(finished, monkeypatch):
    calls = []
    monkeypatch.setattr(
        finished.model._teacher, 'observe', lambda *a, **k: calls.append(a)
    )
    metrics = finished.val()
    assert 'coco/bbox_mAP' in metrics or metrics == {}
    assert not calls


def test_teacher_of_other_classes_stops_before_the_first_step(
    train, teacher_checkpoint, tmp_path
):
    content = load(teacher_checkpoint)
    classes = list(content['meta']['dataset_meta']['classes'])
    classes[0], classes[1] = classes[1], classes[0]
    content['meta']['dataset_meta']['classes'] = classes
    path = tmp_path / 'swapped.pth'
    torch.save(content, path)
    with pytest.raises(ValueError, match="class 0 is .* instead of 'van'"):
        train(**{'model.teacher.checkpoint': str(path)})


def test_broken_image_is_reported_with_its_path(train, minicoco, tmp_path):
    import shutil

    root = tmp_path / 'copy'
    shutil.copytree(minicoco, root)
    image = sorted((root / 'train').iterdir())[3]
    image.write_bytes(b'no image')
    with pytest.raises(Exception, match=image.name):
        train(**{'train_dataloader.dataset.data_root': str(root)})
