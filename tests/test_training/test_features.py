"""Options of mmengine and mmdet that change what a training step is."""

import copy

import pytest
import torch
from mmengine.hooks import Hook
from torch.testing import assert_close

ONE_EPOCH = dict(max_epochs=1, val_interval=5)


class SeenImages(Hook):
    """What the two backbones are fed with in training."""

    def __init__(self):
        self.student, self.teacher = [], []

    def before_train(self, runner):
        def record(seen):
            def hook(module, args):
                if runner.model.training:
                    seen.append(args[0].clone())

            return hook

        for role, seen in (
            ('student', self.student),
            ('teacher', self.teacher),
        ):
            backbone = getattr(runner.model, role).backbone
            backbone.register_forward_pre_hook(record(seen))


@pytest.fixture(scope='module')
def plain_weights():
    """Final weights of the run that recomputation must not change."""
    return {}


@pytest.mark.parametrize(
    'changes',
    [
        {'model.student.backbone.with_cp': True},
        {
            # modules of one tensor: mmengine's reentrant checkpoints pass no
            # gradient to tuples, as a neck takes, in plain mmdet either
            'activation_checkpointing': [
                'student.backbone.layer2',
                'student.roi_head.bbox_head',
            ]
        },
    ],
    ids=['with_cp', 'activation_checkpointing'],
)
def test_recomputed_activations_change_nothing(
    train, tmp_path, plain_weights, changes
):
    # recomputation updates running statistics twice, in plain mmdet too
    common = {
        'model.student.backbone.norm_eval': True,
        'model.balance_interval': 0,
        'train_cfg': ONE_EPOCH,
    }
    seen = SeenImages()
    runner = train(tmp_path / 'cp', hooks=[seen], **common, **changes)
    assert len(seen.student) == len(seen.teacher) == 4
    if not plain_weights:
        plain = train(tmp_path / 'plain', **common)
        plain_weights.update(copy.deepcopy(plain.model.state_dict()))
    assert_close(
        dict(runner.model.state_dict()), plain_weights, rtol=1e-5, atol=1e-7
    )


def test_balance_through_a_recomputed_head_is_refused(train):
    heads = ['student.roi_head.bbox_head']
    with pytest.raises(ValueError, match='balance_interval=0'):
        train(train_cfg=ONE_EPOCH, activation_checkpointing=heads)


def test_frozen_stages_stay_and_the_rest_learns(train):
    initial = {}

    class Spy(Hook):
        def before_train_epoch(self, runner):
            initial.update(copy.deepcopy(runner.model.state_dict()))

    runner = train(
        hooks=[Spy()],
        train_cfg=ONE_EPOCH,
        **{
            'model.student.backbone.frozen_stages': 1,
            'model.student.backbone.norm_eval': True,
        },
    )
    frozen = ('backbone.conv1.', 'backbone.bn1.', 'backbone.layer1.')
    for name, value in runner.model.student.named_parameters():
        stays = name.startswith(frozen)
        assert value.requires_grad != stays, name
        if stays:
            assert torch.equal(value, initial[name]), name
    first_to_learn = 'backbone.layer2.0.conv1.weight'
    learnt = runner.model.student.get_parameter(first_to_learn)
    assert not torch.equal(learnt, initial[first_to_learn])


def test_learning_rate_is_scaled_to_the_batch_of_images(train):
    runner = train(
        auto_scale_lr=dict(enable=True, base_batch_size=4),
        param_scheduler=[],
        train_cfg=ONE_EPOCH,
    )
    assert runner.optim_wrapper.get_lr() == {'lr': [0.005]}


def test_iterations_train_as_epochs_do(run_config, train, tmp_path):
    run_config.train_cfg = dict(
        type='EpochBasedTrainLoop', max_epochs=1, val_interval=5
    )
    epochs = train(tmp_path / 'epochs')
    run_config.train_cfg = dict(
        type='IterBasedTrainLoop', max_iters=4, val_interval=5
    )
    workers = {
        'train_dataloader.num_workers': 2,
        'train_dataloader.persistent_workers': True,
        'default_hooks.checkpoint.by_epoch': False,
    }
    iterations = train(tmp_path / 'iterations', **workers)
    for name, value in epochs.model.state_dict().items():
        assert torch.equal(iterations.model.state_dict()[name], value), name


def augmented_by_the_preprocessor(run_config):
    run_config.model.student.data_preprocessor.batch_augments = [
        dict(
            type='BatchSyncRandomResize',
            random_size_range=(64, 128),
            size_divisor=32,
            interval=1,
        )
    ]


def padded_by_the_preprocessor(run_config):
    run_config.model.student.data_preprocessor.batch_augments = [
        dict(type='BatchFixedSizePad', size=(96, 128))
    ]


def resized_by_the_pipeline(run_config):
    run_config.train_dataloader.dataset.pipeline[1] = dict(
        type='RandomChoiceResize', scales=[(64, 64), (96, 96), (128, 128)]
    )


def mixed_by_the_dataset(run_config):
    loader = run_config.train_dataloader
    load, _, annotations, pack = loader.dataset.pipeline
    loader.dataset.pipeline = [load, annotations]
    loader.dataset = dict(
        type='MultiImageMixDataset',
        dataset=loader.dataset,
        pipeline=[
            dict(type='Mosaic', img_scale=(64, 64)),
            dict(
                type='RandomAffine',
                scaling_ratio_range=(0.5, 1.5),
                border=(-32, -32),
            ),
            dict(type='MixUp', img_scale=(64, 64)),
            dict(type='Resize', scale=(96, 96)),
            pack,
        ],
    )


@pytest.mark.parametrize(
    'augment',
    [
        augmented_by_the_preprocessor,
        padded_by_the_preprocessor,
        resized_by_the_pipeline,
        mixed_by_the_dataset,
    ],
    ids=lambda function: function.__name__,
)
def test_the_teacher_sees_the_students_augmented_pixels(
    run_config, train, augment
):
    augment(run_config)
    seen = SeenImages()
    train(hooks=[seen], train_cfg=ONE_EPOCH)
    assert len(seen.student) == len(seen.teacher) == 4
    for mine, other in zip(seen.student, seen.teacher, strict=True):
        assert torch.equal(mine, other)
    assert any(images.shape[2:] != (64, 64) for images in seen.student)
