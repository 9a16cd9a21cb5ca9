"""Boxes of the same locations of dense heads."""

import copy
from dataclasses import replace
from importlib import import_module

import pytest
import torch
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmengine.logging import MessageHub
from torch.testing import assert_close

from mmwkd.distillers import dense_scores
from mmwkd.distillers.places.box import (
    LocationBoxPlace,
    RoIBoxPlace,
    offsets,
)
from mmwkd.functional import smooth_l1_term
from mmwkd.testing import tiny_faster_rcnn, tiny_retinanet
from tests.test_families import tiny

from .test_matched_logits import QUERIES, trained

KEY = 'loss_l1_box_delta'
# heads that code their boxes in different ways
DENSE = [
    'retinanet/retinanet_r50_fpn_1x_coco.py',
    'vfnet/vfnet_r50_fpn_1x_coco.py',
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    'gfl/gfl_r50_fpn_1x_coco.py',
    'foveabox/fovea_r50_fpn_4xb4-1x_coco.py',
    'reppoints/reppoints-moment_r50_fpn_1x_coco.py',
    'tood/tood_r50_fpn_1x_coco.py',
    'sabl/sabl-retinanet_r50_fpn_1x_coco.py',
    'yolox/yolox_tiny_8xb8-300e_coco.py',
    'yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py',
]


@pytest.fixture
def build_box(build):
    def build_distiller(student, teacher, **changes):
        return build(
            **{
                'student': student,
                'teacher': dict(config=teacher, allow_random=True),
                'logit_loss': None,
                'neck_loss': None,
                'roi_loss': None,
                'box_loss': dict(type='BoxDistillationLoss'),
                **changes,
            }
        )

    return build_distiller


def test_offsets_are_those_of_mmdets_coder():
    torch.manual_seed(0)
    corners = 60 * torch.rand(2, 20, 2)
    boxes, references = torch.cat([corners, corners + 1 + corners], dim=2)
    coder = DeltaXYWHBBoxCoder(target_stds=(0.1, 0.1, 0.2, 0.2))
    assert_close(offsets(boxes, references), coder.encode(references, boxes))


def test_boxes_without_area_have_finite_offsets_and_gradients():
    boxes = torch.tensor([[5.0, 5, 5, 5], [0, 0, 0, 1e4]], requires_grad=True)
    value = offsets(boxes, boxes.detach().flip(0))
    (gradient,) = torch.autograd.grad(value.sum(), boxes)
    assert value.isfinite().all()
    assert gradient.isfinite().all()


@pytest.fixture
def first_epoch():
    """TOOD assigns otherwise in its first epochs."""
    hub = MessageHub.get_current_instance()
    hub.update_info('epoch', 0)
    yield
    hub.pop_info('epoch')


@pytest.mark.usefixtures('first_epoch')
@pytest.mark.parametrize('config', DENSE)
def test_boxes_of_every_coding_learn_at_locations(config, build_box, step):
    model = tiny(config, factor=8)
    distiller = build_box(model, copy.deepcopy(model))
    assert isinstance(distiller._places['box'], LocationBoxPlace)
    trained(distiller.student)
    distiller.teacher.load_state_dict(distiller.student.state_dict())
    assert step(distiller)[KEY].abs() < 1e-5
    for name, value in distiller.teacher.named_parameters():
        if any(part in name for part in ('reg', 'pts', 'pred')):
            value.data += 2e-3 * torch.randn_like(value)
    loss = step(distiller)[KEY]
    assert loss > 1e-5
    loss.backward()
    heads = [
        name.rpartition('head')[2]
        for name, value in distiller.student.named_parameters()
        if value.grad is not None and value.grad.any() and 'head' in name
    ]
    assert any('reg' in name or 'pred' in name for name in heads)
    assert not any('cls.' in name for name in heads)


def test_a_dense_head_runs_and_is_read_once_for_logits_and_boxes(
    build_box, monkeypatch, step
):
    distiller = build_box(
        tiny_retinanet(), tiny_retinanet(), logit_loss=dict(type='KDLoss')
    )
    calls, reads = [], []
    distiller.teacher.bbox_head.register_forward_hook(
        lambda module, args, output: calls.append(output)
    )
    for name in ('capture', 'predictions', 'teacher'):
        monkeypatch.setattr(
            import_module(f'mmwkd.distillers.{name}'),
            'dense_scores',
            lambda *args: reads.append(args) or dense_scores(*args),
        )
    step(distiller)
    assert len(calls) == 1
    assert len(reads) == 2  # of the student and of the teacher


def test_each_pair_has_its_kind_of_boxes(build_box):
    dense, two_stage = tiny_retinanet(), tiny_faster_rcnn()
    for pair, kind in (
        ((dense, dense), LocationBoxPlace),
        ((two_stage, two_stage), RoIBoxPlace),
    ):
        assert type(build_box(*pair)._places['box']) is kind


@pytest.mark.parametrize(
    'pair',
    [
        lambda: (tiny_retinanet(), tiny_faster_rcnn()),
        lambda: (tiny_faster_rcnn(), tiny_retinanet()),
        lambda: [tiny(QUERIES[3], factor=8)] * 2,
    ],
    ids=['from two stages', 'to two stages', 'queries'],
)
def test_other_pairs_are_told_to_leave_it_out(pair, build_box):
    with pytest.raises(ValueError, match='box_loss .* RoIs .*: leave it out$'):
        build_box(*pair())


def test_options_that_cannot_be_used_are_refused(build_box):
    dense = tiny_retinanet()
    with pytest.raises(ValueError, match='max_locations must be at least 1'):
        build_box(dense, dense, max_locations=0)
    with pytest.raises(ValueError, match='background_weight'):
        build_box(
            dense,
            dense,
            box_loss=dict(type='BoxDistillationLoss', background_weight=0.5),
        )


def test_locations_count_by_their_objects_and_padding_does_not(
    build_box, monkeypatch, step
):
    distiller = build_box(tiny_retinanet(), tiny_retinanet(), max_locations=7)
    place = distiller._places['box']
    seen = []
    compare = place.compare
    monkeypatch.setattr(
        place, 'compare', lambda step: seen.append(step) or compare(step)
    )
    loss = step(distiller)[KEY]

    student, teacher = seen[0].student.predictions, seen[0].teacher.predictions
    index = teacher.most_confident(3, 7)
    images = torch.arange(len(index))[:, None]
    deltas = offsets(
        student.boxes[images, index].flatten(0, 1),
        teacher.boxes[images, index].flatten(0, 1),
    )
    terms = smooth_l1_term(deltas, torch.zeros_like(deltas), beta=1.0)
    # of sigmoids with a background of logit 0
    weights = 1 - 1 / (1 + teacher.rows(index).exp().sum(dim=2)).flatten()
    expected = (weights * terms).sum() / weights.sum().clamp(min=1)
    assert_close(loss, expected)

    wider = replace(teacher, **padded(teacher))
    made = seen[0]._replace(
        teacher=replace(seen[0].teacher, predictions=wider)
    )
    (part,) = compare(made)
    assert_close(part['delta'], expected)


def padded(predictions):
    """Scores and boxes of maps with a column and two rows more."""
    maps = [
        [torch.nn.functional.pad(x, (0, 1, 0, 2), value=9.0) for x in levels]
        for levels in (predictions.scores, box_maps(predictions))
    ]
    rows = [x.permute(0, 3, 4, 1, 2).flatten(1, 3) for x in maps[1]]
    return dict(scores=tuple(maps[0]), boxes=torch.cat(rows, dim=1))


def box_maps(predictions):
    first = 0
    for scores in predictions.scores:
        _, anchors, _, height, width = scores.shape
        last = first + height * width * anchors
        level = predictions.boxes[:, first:last]
        yield level.reshape(-1, height, width, anchors, 4).permute(
            0, 3, 4, 1, 2
        )
        first = last


def test_a_teacher_whose_boxes_are_none_is_named(build_box, step):
    distiller = build_box(tiny_retinanet(), tiny_retinanet())
    distiller.teacher.bbox_head.retina_reg.bias.data.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="teacher's predicted boxes"):
        step(distiller)
