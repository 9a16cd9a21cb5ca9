"""A teacher with a RoI head judges the boxes of students of other kinds."""

import copy

import pytest
import torch
from torch.testing import assert_close

from mmwkd.distillers import predictions
from mmwkd.distillers.predictions import most_confident
from mmwkd.testing import tiny_batch, tiny_faster_rcnn, tiny_retinanet

KEY = 'loss_kd_logit_kl'


@pytest.fixture
def build_pair(build):
    def build_distiller(**changes):
        return build(
            **{
                'student': tiny_retinanet(),
                'logit_loss': dict(type='KDLoss'),
                'neck_loss': None,
                'roi_loss': None,
                **changes,
            }
        )

    return build_distiller


def observed(distiller, batch=None):
    data = distiller.data_preprocessor(
        copy.deepcopy(batch or tiny_batch()), training=True
    )
    return distiller.observe(data['inputs'], data['data_samples'])[1]


def test_gradients_reach_the_class_branch_alone(build_pair, step):
    distiller = build_pair()
    losses = step(distiller)
    losses[KEY].backward()
    head = distiller.student.bbox_head
    assert head.retina_cls.weight.grad.abs().sum() > 0
    assert head.retina_reg.weight.grad is None


def test_row_r_of_both_is_the_same_box(build_pair):
    distiller = build_pair(max_boxes=7).eval()
    observation = observed(distiller)
    place = distiller._places['logit']
    (rois,) = place.rois(observation.student)
    assert rois.shape == (2 * 7, 5)
    assert rois[:, 0].tolist() == 7 * [0] + 7 * [1]
    assert (rois[:, 1:] >= 0).all()
    assert (rois[7:, 1:] <= torch.tensor([64, 96, 64, 96])).all()
    rows = distiller.compared_logits(observation)
    stage = distiller._teacher.roi_stage(
        observation.teacher.neck_feats, 0, rois, logits=True
    )
    assert_close(rows.teacher_logits, stage.logits)
    student = observation.student
    scores = torch.cat(
        [
            level.permute(0, 3, 4, 1, 2).flatten(1, 3)
            for level in student.predictions.scores
        ],
        dim=1,
    )
    best = scores[1].amax(dim=1).topk(7).indices
    assert_close(rows.student_logits[7:, :3], scores[1][best])
    assert (rows.student_logits[:, 3] == 0).all()


def test_what_is_most_confident_is_found_once(build_pair, monkeypatch, step):
    calls = []
    monkeypatch.setattr(
        predictions,
        'most_confident',
        lambda *args: calls.append(args) or most_confident(*args),
    )
    step(build_pair())
    assert len(calls) == 1


def test_the_order_of_images_changes_nothing(build_pair):
    distiller = build_pair().eval()
    batch = tiny_batch(sizes=((64, 64), (64, 64)))
    turned = {name: values[::-1] for name, values in batch.items()}
    first, second = (
        distiller._places['logit'].losses(observed(distiller, each))[KEY]
        for each in (batch, turned)
    )
    assert first > 0
    assert_close(first, second)


def test_where_the_teacher_is_sure_of_background_nothing_is_taught(
    build_pair, step
):
    distiller = build_pair().eval()
    fc_cls = distiller.teacher.roi_head.bbox_head.fc_cls
    fc_cls.weight.data.zero_()
    fc_cls.bias.data.copy_(torch.tensor([-200.0, -200.0, -200.0, 0.0]))
    loss = step(distiller)[KEY]
    assert loss == 0
    assert loss.requires_grad


def test_boxes_without_area_have_no_weight(build_pair):
    distiller = build_pair().eval()
    head = distiller.student.bbox_head
    head.retina_reg.weight.data.zero_()
    head.retina_reg.bias.data.copy_(torch.tensor(9 * [1e4, 0.0, 0.0, 0.0]))
    observation = observed(distiller)
    assert distiller.compared_logits(observation).weights.sum() == 0


def test_images_without_objects_have_the_same_keys(build_pair, step):
    distiller = build_pair()
    assert set(step(distiller)) == set(step(distiller, boxes_per_image=0))


def test_a_teacher_may_look_at_smaller_images(build_pair, step):
    config = tiny_faster_rcnn()
    distiller = build_pair(
        teacher=dict(config=config, allow_random=True, image_scale=0.5)
    )
    assert step(distiller)[KEY].isfinite()


def test_max_boxes_is_for_such_pairs(build, build_pair):
    with pytest.raises(ValueError, match='max_boxes is set, but'):
        build(max_boxes=100)
    with pytest.raises(ValueError, match='max_boxes must be at least 1'):
        build_pair(max_boxes=0)


def test_other_classes_are_refused(build_pair):
    with pytest.raises(ValueError, match='has 5 classes, the teacher 3: set'):
        build_pair(student=tiny_retinanet(num_classes=5))
