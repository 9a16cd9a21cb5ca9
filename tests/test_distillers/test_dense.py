"""Logits of dense detectors."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.hub import get_config
from torch.testing import assert_close

from mmwkd.distillers.alignment import DetectorPair
from mmwkd.distillers.categories import classifier_rows, dense_scores
from mmwkd.distillers.places.location_logits import (
    LocationLogitPlace,
    check_dense_heads,
)
from mmwkd.distillers.places.matched_logits import MatchedLogitPlace
from mmwkd.distillers.teacher import FrozenTeacher
from mmwkd.testing import tiny_batch, tiny_faster_rcnn, tiny_retinanet
from tests.shrinking import shrink

ATSS = 'mmdet::atss/atss_r50_fpn_1x_coco.py'
KEYS = {'loss_wkd_logit_transport', 'loss_wkd_logit_target'}


@pytest.fixture
def build_dense(build):
    def build_distiller(**changes):
        teacher = changes.pop('teacher', tiny_retinanet())
        return build(
            **{
                'student': tiny_retinanet(),
                'teacher': dict(config=teacher, allow_random=True),
                'neck_loss': None,
                'roi_loss': None,
                **changes,
            }
        )

    return build_distiller


def test_logits_of_dense_heads_are_distilled(build_dense, step):
    distiller = build_dense()
    losses = step(distiller)
    assert set(losses) == KEYS | {'loss_cls', 'loss_bbox'}
    sum(losses[key] for key in KEYS).backward()
    assert distiller.student.bbox_head.retina_cls.weight.grad.abs().sum() > 0
    assert distiller.student.bbox_head.retina_reg.weight.grad is None


def test_equal_detectors_are_at_distance_0(build_dense, step):
    distiller = build_dense(logit_loss=dict(type='KDLoss'))
    distiller.teacher.load_state_dict(distiller.student.state_dict())
    distiller.eval()
    assert step(distiller)['loss_kd_logit_kl'].abs() < 1e-6


def test_students_own_losses_are_those_of_the_plain_student(build_dense, step):
    distiller = build_dense()
    plain = MODELS.build(tiny_retinanet())
    plain.load_state_dict(distiller.student.state_dict())
    torch.manual_seed(0)
    losses = step(distiller)
    torch.manual_seed(0)
    for name, value in step(plain).items():
        assert_close(losses[name], value)


def test_images_without_objects_have_the_same_keys(build_dense, step):
    losses = step(build_dense(), boxes_per_image=0)
    assert set(losses) >= KEYS
    assert all(losses[key].isfinite() for key in KEYS)


def test_fewer_locations_are_compared_where_asked(build_dense, step):
    distiller = build_dense(max_locations=5)
    rows = []
    loss = distiller.distillation_losses['logit']
    terms = loss.terms
    loss.terms = lambda *args: rows.append(len(args[0])) or terms(*args)
    step(distiller)
    assert rows == [2 * 5]


def test_a_dense_classifier_has_rows_of_all_anchors():
    head = MODELS.build(tiny_retinanet()).bbox_head
    rows = classifier_rows(head)
    assert rows.shape == (3, 9 * 16 * 3 * 3)
    weight = head.retina_cls.weight  # (9 * 3, 16, 3, 3)
    assert_close(rows[1], weight[1::3].flatten())


def test_yolo_v3_classifies_behind_box_and_objectness():
    cfg = get_config('mmdet::yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py')
    cfg.model.bbox_head.update(num_classes=2, out_channels=[8, 8, 8])
    head = MODELS.build(cfg.model.bbox_head)
    rows = classifier_rows(head)
    assert rows.shape == (2, 3 * (8 + 8 + 8))
    weight = head.convs_pred[0].weight  # (3 * (5 + 2), 8, 1, 1)
    assert_close(rows[1, : 3 * 8], weight[[6, 13, 20]].flatten())


def test_other_convolutions_are_no_classifiers():
    model = shrink(get_config('mmdet::tood/tood_r50_fpn_1x_coco.py').model)
    # a multiple of the classes, but not the classifier: cls_prob_module
    model.bbox_head.update(feat_channels=32, num_classes=4)
    head = MODELS.build(model).bbox_head
    assert_close(classifier_rows(head), head.tood_cls.weight.flatten(1))


def test_background_is_related_to_nothing(build_dense):
    cost = build_dense().distillation_losses['logit'].ground_cost
    assert cost.shape == (4, 4)
    assert_close(cost[3, :3], (1 - torch.tensor(-2.0).exp()).expand(3))


@pytest.mark.parametrize(
    'changes', [dict(scales_per_octave=1), dict(ratios=[0.3, 1.0, 3.0])]
)
def test_other_anchors_are_matched_by_their_boxes(build_dense, changes):
    anchors = dict(
        type='AnchorGenerator',
        octave_base_scale=4,
        scales_per_octave=3,
        ratios=[0.5, 1.0, 2.0],
        strides=[8, 16, 32, 64, 128],
    )
    teacher = tiny_retinanet(anchor_generator={**anchors, **changes})
    (place,) = build_dense(teacher=teacher)._places.values()
    assert isinstance(place, MatchedLogitPlace)
    teacher = tiny_retinanet(anchor_generator=anchors)
    (place,) = build_dense(teacher=teacher)._places.values()
    assert isinstance(place, LocationLogitPlace)


def test_dense_heads_of_other_locations_or_classes_are_no_pair(build_dense):
    pair = DetectorPair(
        MODELS.build(tiny_retinanet()),
        FrozenTeacher(
            MODELS.build(shrink(get_config(ATSS).model, num_classes=3)), None
        ),
    )
    with pytest.raises(ValueError, match=r'\(8, 9\).*student and \[\(8, 1\)'):
        check_dense_heads(pair)
    with pytest.raises(ValueError, match='3 classes, the teacher 5: set'):
        build_dense(teacher=tiny_retinanet(num_classes=5))


def test_max_locations_is_for_dense_heads(build, build_dense):
    with pytest.raises(ValueError, match='max_locations is set, but'):
        build(max_locations=100)
    with pytest.raises(ValueError, match='max_locations must be at least 1'):
        build_dense(max_locations=0)


def test_heads_of_unknown_kind_are_refused():
    with pytest.raises(ValueError, match='heads of type Linear: .*register'):
        dense_scores(torch.nn.Linear(1, 1), ())


def test_compared_logits_are_what_the_loss_is_given(build_dense):
    distiller = build_dense()
    rows = []
    loss = distiller.distillation_losses['logit']
    terms = loss.terms
    loss.terms = lambda *args: rows.append(args) or terms(*args)
    distiller.eval()
    data = distiller.data_preprocessor(tiny_batch(), training=True)
    distiller(**data, mode='loss')
    _, step = distiller.observe(data['inputs'], data['data_samples'])
    for compared, given in zip(
        distiller.compared_logits(step)[:3], rows[0], strict=True
    ):
        assert_close(compared, given)


def test_weights_are_the_teachers_probability_of_an_object(build_dense):
    distiller = build_dense().eval()
    data = distiller.data_preprocessor(tiny_batch(), training=True)
    _, step = distiller.observe(data['inputs'], data['data_samples'])
    rows = distiller.compared_logits(step)
    shares = rows.teacher_logits.softmax(dim=1)
    assert_close(rows.weights, shares[:, :3].sum(dim=1))
    # also where the teacher finds background likelier
    assert (shares[:, 3] > shares[:, :3].amax(dim=1)).any()
    assert_close(rows.target, shares[:, :3].argmax(dim=1))


def test_background_weight_is_for_rois_that_are_labelled(build_dense):
    loss = dict(type='KDLoss', background_weight=0.5)
    with pytest.raises(ValueError, match='logit_loss between dense.* no RoIs'):
        build_dense(logit_loss=loss)


def test_a_cost_matrix_of_seesaw_heads_has_a_row_for_the_background():
    model = tiny_faster_rcnn()
    model.roi_head.bbox_head.loss_cls = dict(type='SeesawLoss', num_classes=3)
    head = MODELS.build(model).roi_head.bbox_head
    rows = classifier_rows(head)
    assert rows.shape == (4, head.fc_cls.in_features)
    assert_close(rows[3], head.fc_cls.weight[4])  # behind 'object'


def test_the_mean_is_over_the_locations_of_all_ranks(
    build_dense, step, monkeypatch
):
    distiller = build_dense(logit_loss=dict(type='KDLoss')).eval()
    # enough confidence that the total is above its least value, 1
    distiller.teacher.bbox_head.retina_cls.bias.data.fill_(2.0)
    key = 'loss_kd_logit_kl'
    alone = step(distiller)[key]
    monkeypatch.setattr(
        'mmwkd.distillers.places.base.reduce_mean',
        lambda total: 2 * total,
    )
    assert_close(step(distiller)[key], alone / 2)
