"""Predictions of both detectors meet where they are about one box."""

import copy
import gc
import weakref

import pytest
import torch
from torch.testing import assert_close

from mmwkd.distillers.matching import closest
from mmwkd.distillers.places.location_logits import LocationLogitPlace
from mmwkd.distillers.predictions import Predictions
from mmwkd.testing import tiny_batch, tiny_faster_rcnn, tiny_retinanet
from tests.test_families import tiny

KEY = 'loss_kd_logit_kl'


@pytest.fixture
def build_pair(build):
    def build_distiller(student, teacher, **changes):
        return build(
            **{
                'student': student,
                'teacher': dict(config=teacher, allow_random=True),
                'logit_loss': dict(type='KDLoss'),
                'neck_loss': None,
                'roi_loss': None,
                **changes,
            }
        )

    return build_distiller


QUERIES = [
    'detr/detr_r50_8xb2-150e_coco.py',
    'conditional_detr/conditional-detr_r50_8xb2-50e_coco.py',
    'dab_detr/dab-detr_r50_8xb2-50e_coco.py',
    'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
    'dino/dino-4scale_r50_8xb2-12e_coco.py',
    'sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py',
]


def trained(detector):
    """Let queries have boxes of their own, and passes no randomness.

    In eval mode, some detectors with queries cannot compute their losses.
    """
    torch.manual_seed(1)
    for value in detector.parameters():
        if value.dim() > 1:
            value.data += 0.1 * torch.randn_like(value)
    for module in detector.train().modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
        for name in ('p', 'dropout'):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


@pytest.mark.parametrize('config', QUERIES)
def test_equal_detectors_with_queries_are_at_distance_0(
    config, build_pair, step
):
    model = tiny(config, factor=8)
    distiller = build_pair(model, copy.deepcopy(model))
    trained(distiller.student)
    distiller.teacher.load_state_dict(distiller.student.state_dict())
    assert step(distiller)[KEY].abs() < 1e-6
    for name, value in distiller.teacher.named_parameters():
        if 'cls' in name and name.endswith('bias'):
            value.data[0] += 1
    loss = step(distiller)[KEY]
    assert loss > 1e-4
    loss.backward()
    names = [
        name
        for name, value in distiller.student.named_parameters()
        if value.grad is not None and value.grad.any()
    ]
    assert any('cls' in name for name in names)
    assert not any('fc_reg' in name for name in names)
    assert not any('reg_branches' in name for name in names)


def test_the_order_of_queries_changes_nothing(build_pair, step):
    model = tiny(QUERIES[0], factor=8)
    distiller = build_pair(model, copy.deepcopy(model))
    trained(distiller.student)
    trained(distiller.teacher)
    distiller.teacher.eval()
    distiller.teacher.bbox_head.fc_cls.bias.data[0] += 2
    first = step(distiller)[KEY]
    assert first > 0
    for detector in (distiller.student, distiller.teacher):
        queries = detector.query_embedding.weight.data
        queries.copy_(queries[torch.randperm(len(queries))])
        assert_close(step(distiller)[KEY], first, rtol=1e-4, atol=0)


def predictions(boxes, scores, owned=None):
    """Predictions whose one map has a point, and an anchor for each box."""
    scores = scores[..., None, None]
    return Predictions(
        boxes, (scores,), torch.full((len(boxes), 2), 100.0), owned
    )


@pytest.fixture
def student():
    generator = torch.Generator().manual_seed(0)
    corners = 60 * torch.rand(2, 50, 2, generator=generator)
    boxes = torch.cat([corners, corners + 30], dim=2)
    return predictions(boxes, torch.randn(2, 50, 3, generator=generator))


def logits_of(predictions):
    return torch.nn.functional.pad(predictions.scores[0][..., 0, 0], (0, 1))


def test_equal_predictions_meet_themselves(student):
    index = torch.randperm(50).expand(2, 50)
    match, same = closest(
        student, student.boxes[:, index[0]], logits_of(student)[:, index[0]], 3
    )
    assert_close(match, index)
    assert same.all()


def test_the_order_of_the_students_predictions_changes_nothing(student):
    order = torch.randperm(50)
    turned = predictions(
        student.boxes[:, order], student.scores[0][:, order, :, 0, 0]
    )
    boxes = student.boxes[:, :20] + 3
    logits = torch.randn(2, 20, 4)
    match, same = closest(student, boxes, logits, 3)
    turned_match, turned_same = closest(turned, boxes, logits, 3)
    assert_close(order[turned_match], match)
    assert_close(turned_same, same)


def test_of_the_same_boxes_the_one_that_agrees_is_met():
    boxes = torch.tensor(
        [[[0.0, 0, 10, 10], [0, 0, 10, 10.5], [50, 50, 60, 60]]]
    )
    scores = torch.tensor([[[9.0, 0, 0], [0, 9, 0], [9, 0, 0]]])
    logits = torch.tensor([[[0.0, 9, 0, 0], [9, 0, 0, 0]]])
    teacher_boxes = boxes[:, :1].repeat(1, 2, 1)
    match, same = closest(predictions(boxes, scores), teacher_boxes, logits, 3)
    assert match.tolist() == [[1, 0]]
    assert same.all()


@pytest.mark.parametrize(('width', 'expected'), [(5.1, True), (4.9, False)])
def test_boxes_are_the_same_from_half_overlap_on(width, expected):
    own = predictions(
        torch.tensor([[[0.0, 0, width, 10]]]), torch.zeros(1, 1, 3)
    )
    _, same = closest(
        own, torch.tensor([[[0.0, 0, 10, 10]]]), torch.zeros(1, 1, 4), 3
    )
    assert same.tolist() == [[expected]]


def test_boxes_of_another_image_are_not_met():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9]])
    own = predictions(
        boxes.expand(2, 2, 4), torch.zeros(2, 2, 3), torch.eye(2).bool()
    )
    match, same = closest(
        own, boxes[:1].expand(2, 1, 4), torch.zeros(2, 1, 4), 3
    )
    assert match.tolist() == [[0], [1]]
    assert same.all()


PAIRS = {
    'a two-stage student of a dense teacher': (
        tiny_faster_rcnn,
        tiny_retinanet,
    ),
    'a two-stage student of a teacher with queries': (
        tiny_faster_rcnn,
        lambda: tiny(QUERIES[4], factor=8),
    ),
    'a dense student of Sparse R-CNN': (
        tiny_retinanet,
        lambda: tiny(QUERIES[5], factor=8),
    ),
}


@pytest.mark.parametrize('pair', PAIRS)
def test_detectors_of_different_kinds_are_compared(pair, build_pair, step):
    student, teacher = PAIRS[pair]
    distiller = build_pair(student(), teacher())
    loss = step(distiller)[KEY]
    assert loss > 0
    loss.backward()
    names = [
        name
        for name, value in distiller.student.named_parameters()
        if value.grad is not None and value.grad.any()
    ]
    assert any('cls' in name for name in names)
    assert not any('reg' in name for name in names)
    assert set(step(distiller)) == set(step(distiller, boxes_per_image=0))


def test_equal_dense_detectors_are_at_distance_0(
    build_pair, step, monkeypatch
):
    monkeypatch.setattr(
        LocationLogitPlace, 'suits', classmethod(lambda cls, pair: False)
    )
    distiller = build_pair(tiny_retinanet(), tiny_retinanet()).eval()
    distiller.teacher.load_state_dict(distiller.student.state_dict())
    assert step(distiller)[KEY].abs() < 1e-6


@pytest.fixture
def from_dense(build_pair):
    """A two-stage student of a dense teacher that is sure of something."""
    distiller = build_pair(tiny_faster_rcnn(), tiny_retinanet()).eval()
    distiller.teacher.bbox_head.retina_cls.bias.data.fill_(2.0)
    return distiller


def test_the_order_of_images_changes_nothing(from_dense, step):
    batch = tiny_batch(sizes=((64, 64), (64, 64)))
    turned = {name: values[::-1] for name, values in batch.items()}
    head = from_dense.student.roi_head
    head.bbox_sampler.num = 10_000  # all of them, so none by chance
    first, second = (
        step(from_dense, copy.deepcopy(each))[KEY] for each in (batch, turned)
    )
    assert first > 0
    assert_close(first, second)


def test_no_roi_or_no_match_is_an_exact_0_in_the_graph(
    from_dense, step, monkeypatch
):
    place = from_dense._places['logit']
    data = from_dense.data_preprocessor(tiny_batch(), training=True)
    _, observed = from_dense.observe(data['inputs'], data['data_samples'])
    student = observed.student.predictions

    nothing = predictions(
        student.boxes[:, :0],
        student.scores[0][:, :0, :, 0, 0],
        student.owned[:, :0],
    )
    far = predictions(
        student.boxes + 1e4, student.scores[0][..., 0, 0], student.owned
    )
    for other in (nothing, far):
        record = copy.copy(observed.student)
        object.__setattr__(record, 'predictions', other)
        loss = place.losses(observed._replace(student=record))[KEY]
        assert loss == 0
        assert loss.requires_grad


def test_the_mean_is_over_the_matches_of_all_ranks(
    from_dense, step, monkeypatch
):
    torch.manual_seed(0)
    alone = step(from_dense)[KEY]
    monkeypatch.setattr(
        'mmwkd.distillers.places.base.reduce_mean', lambda total: 2 * total
    )
    torch.manual_seed(0)
    assert_close(step(from_dense)[KEY], alone / 2)


def test_queries_of_denoising_take_no_part(build_pair):
    model = tiny(QUERIES[4], factor=8)
    distiller = build_pair(model, copy.deepcopy(model))
    data = distiller.data_preprocessor(tiny_batch(), training=True)
    _, step = distiller.observe(data['inputs'], data['data_samples'])
    for detector in (step.student, step.teacher):
        assert detector.predictions.boxes.shape == (2, model.num_queries, 4)


def test_sigmoids_of_a_box_head_are_read_as_such(build_pair, step):
    student = tiny_faster_rcnn()
    student.roi_head.bbox_head.loss_cls.use_sigmoid = True
    distiller = build_pair(student, tiny_retinanet())
    assert step(distiller)[KEY].isfinite()


@pytest.fixture
def from_sigmoids(build_pair):
    """A dense student of a teacher that cannot judge given boxes."""

    def build_distiller(teacher, num_classes=3):
        teacher.roi_head.bbox_head.loss_cls.use_sigmoid = True
        return build_pair(tiny_retinanet(num_classes=num_classes), teacher)

    return build_distiller


def test_a_teacher_without_proposals_judges_the_whole_image(
    from_sigmoids, step
):
    distiller = from_sigmoids(tiny_faster_rcnn())
    distiller.teacher.rpn_head.test_cfg.min_bbox_size = 1000
    assert step(distiller)[KEY].isfinite()
    for parameter in distiller.teacher.parameters():
        parameter.data.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match='neck feature map 0'):
        step(distiller)


def test_the_masks_of_a_teacher_are_not_predicted(from_sigmoids, step):
    teacher = tiny('mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', factor=8)
    num_classes = teacher.roi_head.bbox_head.num_classes
    distiller = from_sigmoids(teacher, num_classes)
    distiller.teacher.roi_head.bbox_head.fc_cls.bias.data[0] = 10  # it detects
    assert step(distiller, num_classes=num_classes)[KEY].isfinite()


@pytest.mark.parametrize('pair', PAIRS)
def test_a_step_leaves_nothing_to_the_garbage_collector(
    pair, build_pair, step, monkeypatch
):
    student, teacher = PAIRS[pair]
    distiller = build_pair(student(), teacher())
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


def test_a_teacher_whose_boxes_are_none_is_named(from_dense, step):
    from_dense.teacher.bbox_head.retina_reg.bias.data.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="teacher's predicted boxes"):
        step(from_dense)


def test_queries_of_a_second_kind_are_refused(build_pair):
    model = tiny('ddq/ddq-detr-4scale_r50_8xb2-12e_coco.py', factor=8)
    with pytest.raises(ValueError, match='DDQDETRHead'):
        build_pair(model, copy.deepcopy(model))


def test_what_cannot_be_matched_is_refused(build, build_pair):
    with pytest.raises(ValueError, match='has 5 classes, the teacher 3: set'):
        build_pair(tiny_faster_rcnn(num_classes=5), tiny_retinanet())
    with pytest.raises(ValueError, match='max_matches must be at least 1'):
        build_pair(tiny_faster_rcnn(), tiny_retinanet(), max_matches=0)
    with pytest.raises(ValueError, match='max_matches is set, but'):
        build_pair(tiny_faster_rcnn(), tiny_faster_rcnn(), max_matches=9)
    small = dict(allow_random=True, image_scale=0.5)
    with pytest.raises(ValueError, match=r'image_scale is 0\.5: leave it out'):
        build(
            teacher=dict(config=tiny_retinanet(), **small),
            neck_loss=None,
            roi_loss=None,
        )


def test_a_teacher_without_proposals_of_its_own_is_refused(build_pair):
    teacher = tiny_faster_rcnn()
    teacher.type = 'FastRCNN'
    teacher.pop('rpn_head')
    teacher.train_cfg = dict(rcnn=teacher.train_cfg.rcnn)
    teacher.test_cfg = dict(rcnn=teacher.test_cfg.rcnn)
    # with sigmoids, it cannot judge the student's boxes either
    teacher.roi_head.bbox_head.loss_cls = dict(
        type='CrossEntropyLoss', use_sigmoid=True
    )
    with pytest.raises(ValueError, match='FastRCNN without an RPN'):
        build_pair(tiny_retinanet(), teacher)
