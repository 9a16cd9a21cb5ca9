"""What docs/extending.md says runs as it stands there."""

import importlib
import re
import runpy
from pathlib import Path

import pytest
import torch
from mmdet.models.losses import CrossEntropyLoss
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from torch.testing import assert_close

from mmwkd.distillers import roi_logits
from mmwkd.testing import tiny_batch, tiny_faster_rcnn, tiny_retinanet

PAGE = Path(__file__).resolve().parents[1] / 'docs' / 'extending.md'


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """A folder with the files of the page, which is where we are."""
    folder = tmp_path_factory.mktemp('project')
    blocks = re.findall(
        r'```python\n(# (\S+)\n.*?)```', PAGE.read_text(), re.S
    )
    for text, name in blocks:
        (folder / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope='module')
def output(project):
    """What the page's last file prints; it registers the others."""
    with pytest.MonkeyPatch.context() as patch:
        lines = []
        patch.setattr('builtins.print', lambda *args: lines.append(args))
        runpy.run_path(str(project / 'try_it.py'))
    return [value for (value,) in lines]


@pytest.fixture
def detector_of():
    def build(dense, **options):
        if dense:
            model = tiny_retinanet(**options)
            model.bbox_head.type = 'ObjectnessHead'
        else:
            model = tiny_faster_rcnn(**options)
            loss = dict(type='SharpCrossEntropyLoss')
            model.roi_head.bbox_head.loss_cls = loss
        return model

    return build


def train_two_steps(distiller):
    optimizer = torch.optim.SGD(distiller.parameters(), lr=1e-3)
    wrapper = OptimWrapper(optimizer)
    return [distiller.train_step(tiny_batch(), wrapper) for _ in range(2)]


def test_every_code_block_is_run(project, output):
    blocks = re.findall('```python', PAGE.read_text())
    files = {path.name for path in project.glob('*.py')}
    assert len(files) == len(blocks)
    assert files == {
        'my_loss.py',
        'my_dense_head.py',
        'my_box_loss.py',
        'my_place.py',
        'my_outside_teacher.py',
        'my_outside_config.py',
        'my_distillation.py',
        'try_it.py',
    }


def test_no_file_is_long(project):
    for path in project.glob('my_*.py'):
        assert len(path.read_text().splitlines()) <= 40, path.name


def test_a_detector_is_at_distance_0_from_itself(output):
    before_dense, dense, before_two_stage, two_stage = output
    for before, after in (
        (before_dense, dense),
        (before_two_stage, two_stage),
    ):
        assert before > 1e-6
        assert after.abs() < 1e-9


def test_the_config_trains(project, output, detector_of):
    teacher = detector_of(True, base_channels=12, neck_channels=24)
    torch.save(MODELS.build(teacher).state_dict(), 'my_teacher.pth')
    for name, model in (('student', detector_of(True)), ('teacher', teacher)):
        Config(dict(model=model)).dump(f'my_{name}.py')
    cfg = Config.fromfile('my_distillation.py')
    distiller = MODELS.build(cfg.model)
    assert len(distiller.adapters) == 6
    before = distiller.student.bbox_head.objectness.weight.clone()
    logs = train_two_steps(distiller)
    for log in logs:
        assert log['loss_brier_logit_squared'] > 0
        assert log['loss_fitnet_backbone_mse'] > 0
        assert log['loss'].isfinite()
    assert not distiller.student.bbox_head.objectness.weight.equal(before)


def test_the_box_loss_trains(output, detector_of):
    distiller = MODELS.build(
        dict(
            type='DetectorDistiller',
            student=detector_of(False),
            teacher=dict(
                config=detector_of(False, base_channels=12), allow_random=True
            ),
            logit_loss=dict(type='BrierLoss'),
            roi_loss=dict(type='WKDFeatureLoss', grid=4, loss_weight=0.0075),
        )
    )
    assert all(log['loss'].isfinite() for log in train_two_steps(distiller))


def test_scores_are_read_as_the_head_predicts(output):
    loss = MODELS.build(dict(type='SharpCrossEntropyLoss', scale=3.0))
    scores = torch.randn(5, 4)
    probabilities = roi_logits(loss, scores).softmax(dim=1)
    assert_close(probabilities, loss.get_activation(scores))


def test_a_loss_with_an_unknown_activation_is_refused(detector_of):
    @MODELS.register_module(force=True)
    class UnreadLoss(CrossEntropyLoss):
        custom_activation = True

    model = tiny_faster_rcnn()
    model.roi_head.bbox_head.loss_cls = dict(type='UnreadLoss')
    with pytest.raises(ValueError, match=r'UnreadLoss, not .*roi_logits\.reg'):
        MODELS.build(
            dict(
                type='DetectorDistiller',
                student=model,
                teacher=dict(config=tiny_faster_rcnn(), allow_random=True),
                logit_loss=dict(type='KDLoss'),
            )
        )


class Outside(torch.nn.Module):
    """A model that knows nothing of mmdet: boxes and probabilities."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, images):
        corners = torch.rand(len(images), 50, 2, 2) * 64
        boxes = torch.cat(
            [corners.amin(dim=2), corners.amin(dim=2) + 30 * self.scale], dim=2
        )
        scores = torch.randn(len(images), 50, 4, generator=GENERATOR)
        return boxes, (self.scale * scores).softmax(dim=2)


GENERATOR = torch.Generator().manual_seed(0)


def test_a_teacher_from_outside_mmdet_teaches(project, output):
    importlib.import_module('my_outside_teacher')
    teacher = Config.fromfile('my_outside_config.py').teacher
    teacher.config.update(model=f'{__name__}:Outside', num_classes=3)
    for student in (tiny_retinanet(), tiny_faster_rcnn()):
        distiller = MODELS.build(
            dict(
                type='DetectorDistiller',
                student=student,
                teacher=teacher,
                logit_loss=dict(type='KDLoss'),
            )
        )
        for log in train_two_steps(distiller):
            assert log['loss_kd_logit_kl'] > 0
        assert not distiller.teacher.bbox_head.model.scale.requires_grad
