"""mmengine runs of a tiny distiller on a few drawn images."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmwkd.testing import tiny_faster_rcnn
from studies.toydata.minicoco.categories import CLASSES
from studies.toydata.minicoco.generate import generate_minicoco

NUM_IMAGES = 8
ROOT = Path(__file__).resolve().parents[2]


def environment(**variables):
    """Variables of a process of its own, which does not format configs."""
    path = [
        variables.pop('PYTHONPATH', None),
        os.environ.get('PYTHONPATH'),
        str(ROOT),
        str(ROOT / 'tests' / 'quick_dump'),
    ]
    return {
        **os.environ,
        'OMP_NUM_THREADS': '1',
        'PYTHONPATH': os.pathsep.join(filter(None, path)),
        **variables,
    }


@pytest.fixture(scope='session')
def minicoco(tmp_path_factory):
    root = tmp_path_factory.mktemp('minicoco') / 'data'
    generate_minicoco(root, num_train=NUM_IMAGES, num_val=4, image_size=64)
    return root


@pytest.fixture(scope='session')
def teacher_checkpoint(tmp_path_factory):
    torch.manual_seed(1)
    detector = MODELS.build(teacher_config())
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    torch.save(
        dict(
            state_dict=detector.state_dict(),
            meta=dict(dataset_meta=dict(classes=CLASSES)),
        ),
        path,
    )
    return path


@pytest.fixture(scope='session')
def trained_teacher(minicoco, tmp_path_factory):
    """Checkpoint of a teacher that knows the validation images by heart."""
    torch.manual_seed(1)
    detector = MODELS.build(teacher_config())
    optimizer = torch.optim.Adam(detector.parameters(), lr=3e-3)
    loader = Runner.build_dataloader(dataloader(minicoco, 'val', 4))
    for _ in range(80):
        (batch,) = loader
        data = detector.data_preprocessor(batch, training=True)
        total, _ = detector.parse_losses(detector(**data, mode='loss'))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    path = tmp_path_factory.mktemp('trained') / 'teacher.pth'
    torch.save(
        dict(
            state_dict=detector.state_dict(),
            meta=dict(dataset_meta=dict(classes=CLASSES)),
        ),
        path,
    )
    return path


def teacher_config():
    return tiny_faster_rcnn(
        num_classes=len(CLASSES), base_channels=12, neck_channels=24
    )


def student_config():
    """A student that samples every proposal: no randomness in a step."""
    return tiny_faster_rcnn(num_classes=len(CLASSES), num_rois=10_000)


def dataloader(root, split, batch_size, *, test_mode=False):
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale_factor=1.0, keep_ratio=True),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(
            type='PackDetInputs',
            meta_keys=(
                'img_id',
                'img_path',
                'ori_shape',
                'img_shape',
                'scale_factor',
            ),
        ),
    ]
    return dict(
        batch_size=batch_size,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(
            type='CocoDataset',
            metainfo=dict(classes=CLASSES),
            data_root=str(root),
            ann_file=f'annotations/instances_{split}.json',
            data_prefix=dict(img=f'{split}/'),
            test_mode=test_mode,
            pipeline=pipeline,
        ),
    )


@pytest.fixture
def run_config(minicoco, teacher_checkpoint, tmp_path):
    """Config of a run: 2 epochs of 4 iterations, validated at the end."""
    return config_of_run(minicoco, teacher_checkpoint, tmp_path / 'run')


@pytest.fixture(scope='session')
def finished(minicoco, teacher_checkpoint, tmp_path_factory):
    """Runner of that run, trained; for tests that only look at it."""
    work_dir = tmp_path_factory.mktemp('finished') / 'run'
    cfg = config_of_run(minicoco, teacher_checkpoint, work_dir)
    cfg.experiment_name = 'finished'
    torch.manual_seed(0)
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def config_of_run(minicoco, teacher_checkpoint, work_dir):
    model = dict(
        type='DetectorDistiller',
        student=student_config(),
        teacher=dict(
            config=teacher_config(), checkpoint=str(teacher_checkpoint)
        ),
        logit_loss=dict(type='WKDLogitLoss'),
        neck_loss=dict(type='WKDFeatureLoss', loss_weight=0.01),
        roi_loss=dict(type='WKDFeatureLoss', grid=4, loss_weight=0.01),
    )
    # every anchor counts: nothing is left to draw
    model['student'].train_cfg.rpn.sampler.num = 100_000
    evaluator = dict(
        type='CocoMetric',
        metric='bbox',
        ann_file=str(minicoco / 'annotations' / 'instances_val.json'),
    )
    return Config(
        dict(
            default_scope='mmdet',
            custom_imports=dict(imports=['mmwkd']),
            model=model,
            work_dir=str(work_dir),
            train_dataloader=dataloader(minicoco, 'train', 2),
            val_dataloader=dataloader(minicoco, 'val', 2, test_mode=True),
            val_evaluator=evaluator,
            train_cfg=dict(
                type='EpochBasedTrainLoop', max_epochs=2, val_interval=2
            ),
            val_cfg=dict(type='ValLoop'),
            optim_wrapper=dict(
                type='OptimWrapper',
                optimizer=dict(type='SGD', lr=0.01, momentum=0.9),
            ),
            param_scheduler=[
                dict(
                    type='LinearLR',
                    start_factor=0.1,
                    by_epoch=False,
                    begin=0,
                    end=6,
                )
            ],
            default_hooks=dict(
                checkpoint=dict(type='CheckpointHook', interval=1),
                logger=dict(type='LoggerHook', interval=1),
            ),
            custom_hooks=[],
            visualizer=dict(
                type='DetLocalVisualizer', vis_backends=[], name='visualizer'
            ),
            randomness=dict(seed=0),
            log_level='ERROR',
        )
    )


@pytest.fixture
def train(run_config):
    """Train with changes to the config and further hooks; the runner."""

    def run(work_dir=None, *, hooks=(), **changes):
        cfg = Config(run_config.to_dict())
        if work_dir is not None:
            cfg.work_dir = str(work_dir)
        cfg.merge_from_dict(changes)
        cfg.experiment_name = f'test_{id(cfg)}'  # runners have unique names
        runner = Runner.from_cfg(cfg)
        for hook in hooks:
            runner.register_hook(hook)
        runner.train()
        return runner

    return run


class Spy(Hook):
    """The images of every iteration, and whether they are flipped."""

    def __init__(self):
        self.batches = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.batches[runner.iter] = [
            (sample.img_id, sample.flip)
            for sample in data_batch['data_samples']
        ]


@pytest.fixture
def random_run(run_config, train, monkeypatch):
    """Train with flips and sampled RoIs, on shuffled images."""
    monkeypatch.setattr('mmengine.runner.loops.time.sleep', lambda _: None)
    student = tiny_faster_rcnn(num_classes=len(CLASSES), num_rois=8)
    student.train_cfg.rpn.sampler.num = 16
    run_config.model.student = student
    loader = run_config.train_dataloader
    loader.sampler.shuffle = True
    *load, pack = loader.dataset.pipeline
    pack.meta_keys = (*pack.meta_keys, 'flip')
    loader.dataset.pipeline = [*load, dict(type='RandomFlip', prob=0.5), pack]
    return train


def free_port():
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


def launch(config, work_dir, *options, processes=2):
    """Run tools/dist_train.sh; its code and combined output."""
    completed = subprocess.run(
        [
            ROOT / 'tools' / 'dist_train.sh',
            config,
            str(processes),
            '--work-dir',
            work_dir,
            '--cfg-options',
            'model_wrapper_cfg.type=MMDistributedDataParallel',
            'model_wrapper_cfg.device_ids=None',
            'model_wrapper_cfg.find_unused_parameters=False',
            *options,
        ],
        env=environment(PYTHON=sys.executable, PORT=str(free_port())),
        cwd=work_dir.parent,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=240,
        check=False,
    )
    return completed.returncode, completed.stdout
