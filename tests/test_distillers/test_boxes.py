"""Distillation of the box branch."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from mmwkd.distillers.alignment import DetectorPair
from mmwkd.distillers.capture import TrainingPass, box_heads
from mmwkd.distillers.places import Step
from mmwkd.distillers.places.box import RoIBoxPlace, recode
from mmwkd.distillers.predictions import deltas_of_label
from mmwkd.distillers.teacher import TeacherPass
from mmwkd.testing import tiny_batch, tiny_faster_rcnn

from .conftest import cascade_rcnn, teacher_config

KEY = 'loss_l1_box_delta'


@pytest.fixture
def build_box(build):
    def build_distiller(student=None, teacher=None, **changes):
        return build(
            student=student or tiny_faster_rcnn(),
            teacher=dict(
                config=teacher or teacher_config(), allow_random=True
            ),
            logit_loss=None,
            neck_loss=None,
            roi_loss=None,
            box_loss=dict(type='BoxDistillationLoss', **changes),
        )

    return build_distiller


def with_head(model, **changes):
    model.roi_head.bbox_head.update(**changes)
    return model


def test_the_box_branch_alone_learns(build_box, step):
    distiller = build_box()
    step(distiller)[KEY].backward()
    head = distiller.student.roi_head.bbox_head
    assert head.fc_reg.weight.grad.abs().sum() > 0
    assert head.fc_cls.weight.grad is None


def test_equal_detectors_are_at_distance_0(build_box, step):
    distiller = build_box(teacher=tiny_faster_rcnn())
    distiller.teacher.load_state_dict(distiller.student.state_dict())
    distiller.eval()
    assert step(distiller)[KEY].abs() < 1e-6


@pytest.mark.parametrize('student_agnostic', [True, False])
@pytest.mark.parametrize('teacher_agnostic', [True, False])
def test_agnostic_heads_meet_class_specific_ones(
    build_box, step, student_agnostic, teacher_agnostic
):
    distiller = build_box(
        student=with_head(
            tiny_faster_rcnn(), reg_class_agnostic=student_agnostic
        ),
        teacher=with_head(
            teacher_config(), reg_class_agnostic=teacher_agnostic
        ),
    )
    value = step(distiller)[KEY]
    assert value > 0
    assert value.isfinite()


def test_heads_of_other_coding_are_compared_by_their_boxes(build_box):
    coder = dict(
        type='DeltaXYWHBBoxCoder',
        target_means=[0.0] * 4,
        target_stds=[0.05, 0.05, 0.1, 0.1],
    )
    distiller = build_box(
        teacher=with_head(teacher_config(), bbox_coder=coder)
    )
    (student_head,) = box_heads(distiller.student)
    (teacher_head,) = box_heads(distiller.teacher)
    rois = torch.tensor([[0, 10.0, 10, 50, 40], [1, 0, 5, 20, 60]])
    deltas = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))

    recoded = recode(deltas, teacher_head.bbox_coder, student_head.bbox_coder)

    assert_close(recoded, deltas / 2)
    assert_close(
        student_head.bbox_coder.decode(rois[:, 1:], recoded),
        teacher_head.bbox_coder.decode(rois[:, 1:], deltas),
    )


def test_deltas_are_those_of_the_label():
    deltas = torch.arange(24.0).reshape(2, 12)
    picked = deltas_of_label(deltas, torch.tensor([1, 0]))
    assert_close(picked, torch.tensor([[4.0, 5, 6, 7], [12, 13, 14, 15]]))
    assert_close(
        deltas_of_label(deltas[:, :4], torch.tensor([1, 3])), deltas[:, :4]
    )


def test_the_mean_is_that_of_the_heads_own_box_loss(build_box):
    """A teacher whose boxes are the targets gives the head's own loss."""
    student = with_head(
        tiny_faster_rcnn(), loss_bbox=dict(type='SmoothL1Loss', beta=1.0)
    )
    distiller = build_box(student=student)
    data = distiller.data_preprocessor(tiny_batch(), training=True)
    targets = []
    (head,) = box_heads(distiller.student)
    head.loss_bbox.register_forward_pre_hook(
        lambda module, args: targets.append(args)
    )
    losses, step = distiller.observe(**rename(data))
    (student,), (teacher,) = step.student.stages, step.teacher.stages
    deltas = deltas_of_label(teacher.deltas, student.labels)
    deltas[student.labels < 3] = targets[0][1]
    value = compared(distiller, student, replace(teacher, deltas=deltas))
    assert value > 0
    assert_close(value, losses['loss_bbox'])


def compared(distiller, student, teacher):
    """The box loss of one stage of RoIs."""
    step = Step(
        TrainingPass(neck_feats=(), stages=(student,)),
        TeacherPass(neck_feats=(), stages=(teacher,)),
    )
    return RoIBoxPlace(
        distiller.distillation_losses['box'],
        DetectorPair(distiller.student, distiller._teacher),
    ).losses(step)[KEY]


def rename(data):
    return dict(
        batch_inputs=data['inputs'], batch_data_samples=data['data_samples']
    )


def test_a_background_roi_without_width_spoils_nothing(build_box):
    distiller = build_box()
    data = distiller.data_preprocessor(tiny_batch(), training=True)
    _, step = distiller.observe(**rename(data))
    (student,), (teacher,) = step.student.stages, step.teacher.stages
    whole = compared(distiller, student, teacher)
    rois = student.rois.clone()
    rois[student.labels == 3, 3] = rois[student.labels == 3, 1]
    value = compared(distiller, replace(student, rois=rois), teacher)
    assert_close(value, whole)
    value.backward()
    (head,) = box_heads(distiller.student)
    assert head.fc_reg.weight.grad.isfinite().all()


def test_boxes_of_the_teacher_that_are_not_finite_are_named(build_box, step):
    distiller = build_box()
    bias = distiller.teacher.roi_head.bbox_head.fc_reg.bias
    bias.data.fill_(torch.inf)
    with pytest.raises(FloatingPointError, match='box deltas of stage 0'):
        step(distiller)


def test_background_has_no_box_to_learn(build_box, step):
    losses = step(build_box(), boxes_per_image=0)
    assert losses[KEY] == 0
    losses[KEY].backward()


def test_cascades_learn_boxes_stage_by_stage(build_box, step):
    distiller = build_box(student=cascade_rcnn())
    step(distiller)[KEY].backward()
    for head in box_heads(distiller.student):
        assert head.fc_reg.weight.grad.abs().sum() > 0


def test_two_stages_that_cannot_be_compared_hear_why(build_box):
    student = with_head(
        tiny_faster_rcnn(),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True),
    )
    with pytest.raises(ValueError, match="the student's .*sigmoid"):
        build_box(student=student)


def test_heads_without_deltas_are_refused(build_box):
    student = with_head(tiny_faster_rcnn(), with_reg=False)
    student.roi_head.bbox_head.pop('loss_bbox')
    with pytest.raises(ValueError, match='box_loss .* predicts nothing'):
        build_box(student=student)
    with pytest.raises(ValueError, match="option 'gama'; BoxDistil.*beta"):
        build_box(gama=1)
    with pytest.raises(ValueError, match='box_loss has no RoIs that are la'):
        build_box(background_weight=0.5)
