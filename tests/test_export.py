import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.hooks import EMAHook
from torch.testing import assert_close

from mmwkd.export import export_student, python_text, student_config
from mmwkd.hooks import (
    DistillationWeightHook,
    SafeCheckpointHook,
    TeacherCheckHook,
)
from mmwkd.testing import tiny_faster_rcnn


@pytest.fixture
def run(tmp_path):
    """Config and checkpoint of a distillation run, and its student."""
    teacher = dict(config=tiny_faster_rcnn(), allow_random=True)
    model = dict(
        type='DetectorDistiller',
        student=tiny_faster_rcnn(),
        teacher=teacher,
        neck_loss=dict(type='WKDFeatureLoss'),
    )
    distiller = MODELS.build(model)
    config = Config(
        dict(
            model=model,
            student=model['student'],
            teacher=teacher,
            box_loss=dict(type='BoxDistillationLoss'),
            custom_imports=dict(imports=['mmwkd']),
            default_hooks=dict(
                checkpoint=dict(type='SafeCheckpointHook', interval=3)
            ),
            custom_hooks=[
                dict(type='DistillationWeightHook'),
                dict(type='TeacherCheckHook', min_ap=0.2),
                dict(type='NumClassCheckHook'),
            ],
        )
    )
    config.dump(tmp_path / 'run.py')
    torch.save(
        dict(
            state_dict=distiller.state_dict(),
            optimizer=dict(lr=1),
            meta=dict(dataset_meta=dict(classes=('a', 'b', 'c'))),
        ),
        tmp_path / 'epoch_1.pth',
    )
    return tmp_path / 'run.py', tmp_path / 'epoch_1.pth', distiller.student


def test_exported_files_are_a_plain_detector(run, tmp_path):
    config, checkpoint, student = run
    paths = export_student(config, checkpoint, tmp_path / 'out')
    exported = Config.fromfile(paths[0])
    assert exported.model.type == 'FasterRCNN'
    assert not {'teacher', 'box_loss'} & set(exported)
    assert exported.custom_imports.imports == []
    assert [h.type for h in exported.custom_hooks] == ['NumClassCheckHook']
    hook = exported.default_hooks.checkpoint
    assert hook == dict(type='CheckpointHook', interval=3)
    content = torch.load(paths[1], weights_only=True)
    assert set(content) == {'state_dict', 'meta'}
    assert content['meta']['dataset_meta']['classes'] == ('a', 'b', 'c')
    plain = MODELS.build(exported.model)
    plain.load_state_dict(content['state_dict'], strict=True)
    assert_close(plain.state_dict(), student.state_dict())


def test_imports_may_be_written_in_other_ways(run):
    config = Config.fromfile(run[0])
    config.custom_imports = dict(imports='mmwkd', allow_failed_imports=True)
    assert student_config(config).custom_imports == dict(
        imports=[], allow_failed_imports=True
    )
    config.custom_imports = dict(imports=['mmwkd.hooks', 'mmwkdata'])
    assert student_config(config).custom_imports.imports == ['mmwkdata']


class OwnCheck(TeacherCheckHook):
    """A user's."""


@pytest.mark.parametrize(
    ('hook', 'exported'),
    [
        (dict(type=DistillationWeightHook, stop=3), None),
        (dict(type='mmdet.TeacherCheckHook', min_ap=0.2), None),
        (dict(type='mmwkd.hooks.TeacherCheckHook', min_ap=0.2), None),
        (dict(type=OwnCheck, min_ap=0.2), None),
        (dict(type='PreemptionHook'), None),
        (
            dict(type=SafeCheckpointHook, interval=3),
            dict(type='CheckpointHook', interval=3),
        ),
        (
            dict(type='mmdet.SafeCheckpointHook', interval=3),
            dict(type='CheckpointHook', interval=3),
        ),
        (dict(type=EMAHook), dict(type=EMAHook)),
        (dict(type='NotImported'), dict(type='NotImported')),
    ],
)
def test_hooks_of_distillation_are_left_behind(run, hook, exported):
    config = Config.fromfile(run[0])
    config.custom_hooks = [hook]
    config.default_hooks = dict(checkpoint=hook)
    plain = student_config(config)
    assert plain.custom_hooks == ([exported] if exported else [])
    assert plain.default_hooks == (
        dict(checkpoint=exported) if exported else {}
    )


def test_a_config_of_classes_is_exported_with_their_names(run, tmp_path):
    """As a config in pure Python has them."""
    config, checkpoint, _ = run
    text = config.read_text()
    text = text.replace("type='DetectorDistiller'", 'type=DetectorDistiller')
    text = text.replace("type='ResNet'", 'type=ResNet')
    config.write_text(
        'from mmdet.models import ResNet\n'
        'from mmwkd import DetectorDistiller\n' + text
    )
    paths = export_student(config, checkpoint, tmp_path / 'out')
    exported = Config.fromfile(paths[0])
    assert exported.model.backbone.type.endswith('.ResNet')
    MODELS.build(exported.model).load_state_dict(
        torch.load(paths[1], weights_only=True)['state_dict']
    )


@pytest.mark.parametrize(
    'value', [len, object(), float('inf'), float('nan'), np.float64(1.0)]
)
def test_what_cannot_be_written_is_named(run, tmp_path, value):
    config = Config(dict(model=tiny_faster_rcnn()))
    config.model.backbone.extra = [1, dict(option=value)]
    with pytest.raises(
        ValueError, match=r'model\.backbone\.extra\.1\.option is '
    ) as caught:
        python_text(config)
    assert repr(value) in str(caught.value)


def test_files_of_two_runs_are_not_mixed(run, tmp_path):
    config, checkpoint, _ = run
    paths = export_student(config, checkpoint, tmp_path)
    paths[0].unlink()
    with pytest.raises(FileExistsError, match='run_student.pth exists'):
        export_student(config, checkpoint, tmp_path)
    assert not paths[0].exists()


def test_a_config_without_model_is_named(run, tmp_path):
    config, checkpoint, _ = run
    Config(dict(lr=3)).dump(config)
    with pytest.raises(ValueError, match=r'run\.py has no model'):
        export_student(config, checkpoint, tmp_path)


def test_existing_files_are_kept_unless_forced(run, tmp_path):
    config, checkpoint, _ = run
    paths = export_student(config, checkpoint, tmp_path)
    paths[0].write_text('mine')
    with pytest.raises(FileExistsError, match='run_student.py exists'):
        export_student(config, checkpoint, tmp_path)
    assert paths[0].read_text() == 'mine'
    export_student(config, checkpoint, tmp_path, force=True)
    assert paths[0].read_text() != 'mine'


def test_checkpoint_of_another_student_is_refused(run, tmp_path):
    config, checkpoint, _ = run
    other = MODELS.build(tiny_faster_rcnn(base_channels=4))
    torch.save(other.state_dict(), checkpoint)
    with pytest.raises(ValueError, match='checkpoint .* does not fit'):
        export_student(config, checkpoint, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_plain_config_is_returned_as_it_is():
    config = Config(dict(model=tiny_faster_rcnn(), lr=3))
    assert student_config(config).to_dict() == config.to_dict()


def test_weights_that_the_student_has_no_use_for_stay_behind(run, tmp_path):
    config, checkpoint, student = run
    content = torch.load(checkpoint, weights_only=False)
    content['state_dict']['mask_head.conv.weight'] = torch.zeros(1)
    torch.save(content, checkpoint)
    _, weights = export_student(config, checkpoint, tmp_path / 'out')
    exported = torch.load(weights, weights_only=False)['state_dict']
    assert exported.keys() == student.state_dict().keys()
