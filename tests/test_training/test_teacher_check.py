"""The teacher is scored before it teaches, and training does not notice."""

import copy
import json
import random
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmwkd.distillers import DetectorDistiller
from mmwkd.hooks import TeacherCheckHook
from mmwkd.testing import tiny_faster_rcnn
from studies.toydata.minicoco.categories import CLASSES

from .conftest import dataloader, student_config, teacher_config

pytestmark = pytest.mark.slow

CHECKPOINT = 'model.teacher.checkpoint'


def check(min_ap):
    return [dict(type='TeacherCheckHook', min_ap=min_ap)]


@pytest.fixture
def refusal(train, trained_teacher):
    """What the hook says of the trained teacher, asked for the impossible."""

    def message(match='below min_ap=1', **changes):
        with pytest.raises(ValueError, match=match) as caught:
            train(
                custom_hooks=check(1),
                **{CHECKPOINT: str(trained_teacher), **changes},
            )
        return str(caught.value)

    return message


def document_of(minicoco):
    path = minicoco / 'annotations' / 'instances_val.json'
    return json.loads(path.read_text())


def plain_ap(run_config, checkpoint, ann_file):
    """AP of the teacher by mmdet alone."""
    cfg = Config(run_config.to_dict())
    cfg.model = teacher_config()
    cfg.load_from = str(checkpoint)
    cfg.val_dataloader.dataset.ann_file = str(ann_file)
    cfg.val_evaluator.ann_file = str(ann_file)
    cfg.experiment_name = f'plain_{id(cfg)}'
    return Runner.from_cfg(cfg).val()['coco/bbox_mAP']


def test_score_is_that_of_plain_mmdet(
    refusal, run_config, minicoco, trained_teacher
):
    ann_file = minicoco / 'annotations' / 'instances_val.json'
    ap = plain_ap(run_config, trained_teacher, ann_file)
    assert ap > 0.2
    assert f'box mAP {ap:.3f} on the validation images' in refusal()


def test_boxes_alone_are_scored(refusal):
    """A Mask R-CNN may learn of a teacher that has no masks."""
    metric = {'val_evaluator.metric': ['bbox', 'segm']}
    assert 'on the validation images' in refusal(**metric)


def test_a_teacher_of_other_classes_is_not_scored(monkeypatch):
    teacher = SimpleNamespace(bbox_head=SimpleNamespace(num_classes=80))
    distiller = MagicMock(spec=DetectorDistiller, teacher=teacher)
    dataset = SimpleNamespace(metainfo=dict(classes=('cat', 'dog')))
    runner = MagicMock(iter=0, model=distiller)
    runner.val_dataloader.dataset = dataset
    with pytest.raises(ValueError, match='have 2 classes, .* teacher has 80'):
        TeacherCheckHook(min_ap=0).before_train(runner)


def test_a_good_teacher_may_teach(train, trained_teacher):
    runner = train(
        custom_hooks=check(0.2),
        log_level='INFO',
        train_cfg=dict(max_epochs=1),
        **{CHECKPOINT: str(trained_teacher)},
    )
    assert runner.iter == 4
    (log,) = Path(runner.work_dir).glob('*/*.log')
    assert 'mmwkd: the teacher has box mAP 0.' in log.read_text()


def test_a_teacher_that_detects_nothing_is_refused(train):
    with pytest.raises(
        ValueError,
        match=r'mAP 0\.000 on the validation images, below min_ap=0\.2; check',
    ):
        train(custom_hooks=check(0.2))


@TRANSFORMS.register_module()
class DrawsRandomNumbers(BaseTransform):
    """Disturb all random number generators of the process it runs in."""

    def transform(self, results):
        random.random()
        np.random.rand()
        torch.rand(())
        return results


class Witness(Hook):
    """What training could notice, before every iteration."""

    priority = 'LOWEST'

    def __init__(self):
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen.append(
            dict(
                torch=torch.get_rng_state(),
                numpy=np.random.get_state()[1],
                python=random.getstate()[1],
                images=[s.img_id for s in data_batch['data_samples']],
                scalars=sorted(runner.message_hub.log_scalars),
                trains=runner.model.training,
            )
        )


@pytest.mark.parametrize('workers', [0, 1])
def test_training_is_the_same_with_and_without(
    run_config, train, trained_teacher, minicoco, tmp_path, workers
):
    val = dataloader(minicoco, 'val', 2, test_mode=True)
    val['dataset']['pipeline'].insert(1, dict(type='DrawsRandomNumbers'))
    val.update(num_workers=workers, persistent_workers=workers > 0)
    run_config.val_dataloader = val
    run_config.train_dataloader.sampler.shuffle = True
    # RoIs are drawn at random
    run_config.model.student = tiny_faster_rcnn(num_classes=len(CLASSES))
    run_config.model.teacher.checkpoint = str(trained_teacher)
    run_config.train_cfg = dict(
        type='IterBasedTrainLoop', max_iters=2, val_interval=1
    )
    runs, witnesses = [], []
    for name, hooks in (('with', check(0.2)), ('without', [])):
        witnesses.append(Witness())
        runs.append(
            train(tmp_path / name, hooks=[witnesses[-1]], custom_hooks=hooks)
        )
    assert len(witnesses[0].seen) == 2
    for mine, other in zip(*(w.seen for w in witnesses), strict=True):
        assert mine.keys() == other.keys()
        for key, value in mine.items():
            assert np.array_equal(value, other[key]), key
    mine, other = (run.model.state_dict() for run in runs)
    for name, value in other.items():
        assert torch.equal(mine[name], value), name


class Interrupt(Hook):
    """Stop training before an epoch, as a killed job does."""

    def before_train_epoch(self, runner):
        if runner.epoch == 1:
            raise KeyboardInterrupt


def test_resuming_does_not_score_again(train, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / 'run', hooks=[Interrupt()], custom_hooks=check(0))
    train(tmp_path / 'run', custom_hooks=check(0.2), resume=True)


def test_an_evaluator_without_box_ap_is_refused(refusal):
    said = refusal(
        match='judges the teacher by bbox_mAP',
        **{'val_evaluator.metric': 'proposal'},
    )
    assert "'coco/AR@100', 'coco/AR@1000'" in said


def test_images_without_ground_truth_are_refused(refusal, minicoco, tmp_path):
    path = tmp_path / 'empty.json'
    path.write_text(json.dumps({**document_of(minicoco), 'annotations': []}))
    refusal(
        match='have no ground truth', **{'val_evaluator.ann_file': str(path)}
    )


def test_a_run_without_validation_is_refused(train):
    absent = dict.fromkeys(('val_dataloader', 'val_evaluator', 'val_cfg'))
    with pytest.raises(ValueError, match='the run has none: set val_data'):
        train(custom_hooks=check(0.2), **absent)


def test_other_classes_are_named_rather_than_a_low_ap(
    train, trained_teacher, tmp_path
):
    content = torch.load(trained_teacher, weights_only=True)
    content['meta']['dataset_meta']['classes'] = CLASSES[::-1]
    torch.save(content, tmp_path / 'reversed.pth')
    with pytest.raises(ValueError, match='class 0 is'):
        train(
            custom_hooks=check(1),
            **{CHECKPOINT: str(tmp_path / 'reversed.pth')},
        )


def test_a_plain_detector_is_refused(train):
    with pytest.raises(
        ValueError, match='TeacherCheckHook is for .* the model is a FasterR'
    ):
        train(
            model=dict(_delete_=True, **student_config()),
            custom_hooks=check(0.2),
        )


def test_an_ap_in_per_cent_is_refused():
    with pytest.raises(ValueError, match='from 0 to 1; got 20'):
        TeacherCheckHook(min_ap=20)
    with pytest.raises(ValueError, match=r"from 0 to 1; got '0\.2'"):
        TeacherCheckHook(min_ap='0.2')


@pytest.mark.parametrize('is_trained', [False, True])
def test_a_teacher_that_guesses_is_noticed(
    run_config, train, trained_teacher, minicoco, is_trained
):
    teacher = copy.deepcopy(run_config.model.teacher)
    teacher.pop('checkpoint')
    if is_trained:
        teacher.checkpoint = str(trained_teacher)
    else:
        teacher.allow_random = True
    run_config.model.teacher = teacher
    # one image a batch of those that the teacher knows: 12 batches
    run_config.train_dataloader = dataloader(minicoco, 'val', 1)
    runner = train(
        log_level='WARNING', train_cfg=dict(max_epochs=3, val_interval=9)
    )
    (log,) = Path(runner.work_dir).glob('*/*.log')
    warnings = log.read_text().count('teacher seems untrained')
    assert warnings == (0 if is_trained else 1)
    assert not any('chance' in k for k in runner.message_hub.log_scalars)
