"""Boxes of predictions: of the same locations, or of those that meet."""

import copy
import gc
import weakref
from dataclasses import replace
from importlib import import_module
from pkgutil import resolve_name

import pytest
import torch
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmengine.logging import MessageHub
from torch.testing import assert_close

from mmwkd.distillers import dense_scores, places
from mmwkd.distillers.places.box import (
    LocationBoxPlace,
    MatchedBoxPlace,
    RoIBoxPlace,
    offsets,
)
from mmwkd.functional import smooth_l1_term
from mmwkd.testing import tiny_batch, tiny_faster_rcnn, tiny_retinanet
from tests.test_families import tiny

from .test_matched_logits import trained

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
CONFIGS = [
    *DENSE,
    'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
    'sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py',
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


@pytest.fixture
def matching(monkeypatch):
    """Boxes of dense heads are matched too, as if locations differed."""
    kinds = [kind for kind in places._KINDS if kind is not LocationBoxPlace]
    monkeypatch.setattr(places, '_KINDS', kinds)


@pytest.mark.usefixtures('first_epoch')
@pytest.mark.parametrize('config', DENSE)
def test_boxes_of_every_coding_learn_at_locations(config, build_box, step):
    distiller = build_equal(config, build_box)
    assert isinstance(distiller._places['box'], LocationBoxPlace)
    check_learning(distiller, step)


@pytest.mark.usefixtures('first_epoch', 'matching')
@pytest.mark.parametrize('config', CONFIGS)
def test_boxes_of_every_coding_learn_where_they_meet(config, build_box, step):
    distiller = build_equal(config, build_box)
    assert isinstance(distiller._places['box'], MatchedBoxPlace)
    check_learning(distiller, step)


def build_equal(config, build_box):
    model = tiny(config, factor=8)
    return build_box(model, copy.deepcopy(model))


def check_learning(distiller, step):
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


@pytest.mark.parametrize('num_boxes', [0, 2])
def test_a_teacher_with_rois_has_boxes_for_a_dense_student(
    num_boxes, build_box, step
):
    student = tiny_retinanet()  # its boxes are its anchors, as in an RPN
    student.bbox_head.anchor_generator.octave_base_scale = 2
    distiller = build_box(student, tiny_faster_rcnn())
    head = distiller.student.bbox_head
    head.retina_reg.weight.data.zero_()
    losses = step(distiller, boxes_per_image=num_boxes)
    assert losses[KEY] > 0
    losses[KEY].backward()
    assert head.retina_reg.weight.grad.any()
    assert head.retina_cls.weight.grad is None


@pytest.mark.usefixtures('matching')
def test_boxes_that_do_not_meet_are_an_exact_0_in_the_graph(build_box, step):
    distiller = build_box(tiny_retinanet(), tiny_retinanet())
    bias = distiller.teacher.bbox_head.retina_reg.bias
    bias.data = 3.0 * torch.tensor([1.0, 1, 0, 0]).repeat(len(bias) // 4)
    loss = step(distiller)[KEY]
    assert loss == 0
    assert loss.requires_grad


def test_what_two_places_ask_for_is_found_once(build_box, monkeypatch):
    calls = []
    for name in ('predictions.most_confident', 'matching.closest'):
        function = resolve_name(f'mmwkd.distillers.{name}')
        monkeypatch.setattr(
            f'mmwkd.distillers.{name}',
            lambda *args, function=function: (
                calls.append(function.__name__) or function(*args)
            ),
        )
    logit_loss = dict(type='KDLoss')
    both = build_box(
        tiny_faster_rcnn(), tiny_retinanet(), logit_loss=logit_loss
    )
    judged = build_box(
        tiny_retinanet(),
        tiny_faster_rcnn(),
        logit_loss=logit_loss,
        box_loss=None,
    )
    for distiller in (both, judged):
        data = distiller.data_preprocessor(tiny_batch(), training=True)
        distiller.loss(data['inputs'], data['data_samples'])
    assert calls == ['most_confident', 'closest', 'most_confident']


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


def test_boxes_without_deltas_are_refused(build_box):
    grid = tiny_faster_rcnn()
    grid.roi_head.bbox_head.update(with_reg=False)
    grid.roi_head.bbox_head.pop('loss_bbox')
    for pair in ((grid, tiny_retinanet()), (tiny_retinanet(), grid)):
        with pytest.raises(ValueError, match='Shared.* nothing: leave box_lo'):
            build_box(*pair)
    with pytest.raises(ValueError, match='background_weight'):
        build_box(
            tiny_retinanet(),
            tiny_retinanet(),
            box_loss=dict(type='BoxDistillationLoss', background_weight=0.5),
        )


def test_each_pair_has_its_kind_of_boxes(build_box):
    dense, two_stage = tiny_retinanet(), tiny_faster_rcnn()
    for pair, kind in (
        ((dense, dense), LocationBoxPlace),
        ((two_stage, two_stage), RoIBoxPlace),
        ((dense, two_stage), MatchedBoxPlace),
    ):
        assert type(build_box(*pair)._places['box']) is kind
    with pytest.raises(ValueError, match='max_locations must be at least 1'):
        build_box(dense, dense, max_locations=0)


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


@pytest.mark.parametrize('matched', [True, False])
def test_a_step_leaves_nothing_to_the_garbage_collector(
    build_box, step, monkeypatch, matched
):
    teacher = tiny_faster_rcnn() if matched else tiny_retinanet()
    distiller = build_box(
        tiny_retinanet(), teacher, logit_loss=dict(type='KDLoss')
    )
    observe, seen = distiller.observe, []

    def remember(*args):
        made = observe(*args)
        seen.append(weakref.ref(made[1].student.predictions))
        return made

    monkeypatch.setattr(distiller, 'observe', remember)
    gc.disable()
    try:
        step(distiller)
        assert seen[0]() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    'student', [tiny_retinanet, tiny_faster_rcnn], ids=['same', 'matched']
)
def test_a_teacher_whose_boxes_are_none_is_named(build_box, step, student):
    distiller = build_box(student(), tiny_retinanet())
    distiller.teacher.bbox_head.retina_reg.bias.data.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="teacher's predicted boxes"):
        step(distiller)


@pytest.mark.usefixtures('matching')
def test_a_teacher_without_proposals_judges_the_whole_image(build_box, step):
    distiller = build_box(tiny_retinanet(), tiny_faster_rcnn())
    distiller.teacher.rpn_head.test_cfg.min_bbox_size = 1000
    assert step(distiller)[KEY].isfinite()
    for parameter in distiller.teacher.parameters():
        parameter.data.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match='neck feature map 0'):
        step(distiller)


def test_the_masks_of_a_teacher_are_not_predicted(build_box, step):
    teacher = tiny('mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', factor=8)
    num_classes = teacher.roi_head.bbox_head.num_classes
    distiller = build_box(tiny_retinanet(num_classes=num_classes), teacher)
    distiller.teacher.roi_head.bbox_head.fc_cls.bias.data[0] = 10  # it detects
    assert step(distiller, num_classes=num_classes)[KEY].isfinite()


def test_queries_of_a_second_kind_are_refused(build_box):
    model = tiny('ddq/ddq-detr-4scale_r50_8xb2-12e_coco.py', factor=8)
    with pytest.raises(ValueError, match='DDQDETRHead'):
        build_box(model, copy.deepcopy(model))
