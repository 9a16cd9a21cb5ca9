import math

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from torch.testing import assert_close

from mmwkd.costs import BACKGROUND, CostMatrix
from mmwkd.functional import (
    gaussian_wasserstein,
    interrelation_to_cost,
    target_term,
    transport_term,
)
from mmwkd.losses import WKDFeatureLoss, WKDLogitLoss


def bound(**options):
    """A WKD-L loss for 5 categories, bound to a random classifier."""
    loss = WKDLogitLoss(**options)
    loss.bind(torch.randn(5, 16), 5)
    return loss


def logits(rows=6):
    return (
        torch.randn(rows, 5, requires_grad=True),
        torch.randn(rows, 5),
        torch.arange(rows) % 5,
    )


def test_logit_loss_is_the_formula():
    loss = bound(gamma=3.0, temperature=2.0, reg=0.05, num_iters=4)
    student, teacher, target = logits()
    expected = (
        target_term(student, teacher, target)
        + 3
        * transport_term(
            student,
            teacher,
            loss.ground_cost,
            target,
            temperature=2.0,
            reg=0.05,
            num_iters=4,
        )
    ).mean()
    assert_close(loss(student, teacher, target), expected)


def test_without_separation_the_loss_is_transport_alone():
    loss = bound(gamma=3.0, separate_target=False, temperature=1.0)
    student, teacher, target = logits()
    expected = (
        3
        * transport_term(
            student, teacher, loss.ground_cost, reg=0.1, num_iters=20
        ).mean()
    )
    assert_close(loss(student, teacher, target), expected)
    assert loss.term_names == ('transport',)


def test_feature_loss_is_the_formula():
    loss = WKDFeatureLoss(ratio=3.0, grid=2, loss_weight=0.5)
    student, teacher = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    mean_term, cov_term = gaussian_wasserstein(student, teacher, grid=2)
    assert_close(
        loss(student, teacher), 0.5 * (3 * mean_term + cov_term).mean()
    )


def test_names_of_terms_are_those_of_the_terms():
    student, teacher, target = logits()
    for loss, args in (
        (bound(), (student, teacher, target)),
        (WKDFeatureLoss(), (torch.randn(1, 2, 3, 3),) * 2),
    ):
        assert tuple(loss.terms(*args)) == loss.term_names


def test_reduction_contract_of_mmdet():
    loss = bound(loss_weight=2.0)
    student, teacher, target = logits()
    weight = torch.rand(6)
    per_roi = loss(student, teacher, target, reduction_override='none')
    assert per_roi.shape == (6,)
    assert_close(loss(student, teacher, target), per_roi.mean())
    assert_close(
        loss(student, teacher, target, reduction_override='sum'), per_roi.sum()
    )
    assert_close(
        loss(student, teacher, target, weight), (weight * per_roi).mean()
    )
    assert_close(
        loss(student, teacher, target, weight, avg_factor=3.0),
        (weight * per_roi).sum() / 3,
    )
    with pytest.raises(ValueError, match='avg_factor can not be used'):
        loss(
            student, teacher, target, avg_factor=3.0, reduction_override='sum'
        )
    with pytest.raises(ValueError, match="got 'median'"):
        loss(student, teacher, target, reduction_override='median')


@pytest.mark.parametrize('avg_factor', [None, 1.0])
def test_no_rois_give_an_exact_zero_in_the_graph(avg_factor):
    student = torch.zeros(0, 5, requires_grad=True)
    value = bound()(
        student,
        torch.zeros(0, 5),
        torch.zeros(0, dtype=torch.long),
        avg_factor=avg_factor,
    )
    assert value.item() == 0.0
    value.backward()
    feats = torch.zeros(0, 4, 7, 7, requires_grad=True)
    value = WKDFeatureLoss()(feats, torch.zeros(0, 4, 7, 7))
    assert value.item() == 0.0
    value.backward()
    assert feats.grad is not None


def test_background_weight_scales_background_rois_alone():
    labels = torch.tensor([0, 4, 2, 4])
    label_weights = torch.tensor([1.0, 1.0, 0.0, 0.5])
    weights = bound(background_weight=0.2).roi_weights(
        labels, label_weights, background=4
    )
    assert_close(weights, torch.tensor([1.0, 0.2, 0.0, 0.1]))
    weights = bound().roi_weights(labels, label_weights, background=4)
    assert_close(weights, label_weights)


def test_classifier_cost_ranks_similar_rows_nearer():
    weight = torch.eye(5)
    weight[1, 0] = 0.9
    loss = WKDLogitLoss(kappa=2.0)
    loss.bind(weight, 5)
    assert loss.ground_cost[0, 1] < loss.ground_cost[0, 2]
    assert_close(loss.ground_cost[0, 2].item(), 1 - math.exp(-2))


def write_matrix(path, classes=('cat', 'dog', 'bus', 'car')):
    size = len(classes) + 1
    interrelation = 0.3 * np.ones((size, size), np.float32)
    np.fill_diagonal(interrelation, 1)
    CostMatrix(
        categories=(*classes, BACKGROUND),
        interrelation=interrelation,
        estimator='centroid',
    ).save(path)
    return torch.from_numpy(interrelation)


def test_cost_from_a_file(tmp_path):
    interrelation = write_matrix(tmp_path / 'cost.npz')
    loss = WKDLogitLoss(cost=str(tmp_path / 'cost.npz'), kappa=1.5)
    loss.bind(None, 5, ('cat', 'dog', 'bus', 'car'))
    assert_close(loss.ground_cost, interrelation_to_cost(interrelation, 1.5))


def test_cost_of_other_classes_or_size_is_refused(tmp_path):
    write_matrix(tmp_path / 'cost.npz')
    loss = WKDLogitLoss(cost=str(tmp_path / 'cost.npz'))
    with pytest.raises(ValueError, match="class 1 is 'dog' instead of 'cow'"):
        loss.bind(None, 5, ('cat', 'cow', 'bus', 'car'))
    with pytest.raises(ValueError, match='has 5 categories, .* have 81'):
        loss.bind(None, 81)
    with pytest.raises(ValueError, match='whose classifier is linear'):
        WKDLogitLoss().bind(None, 5)


def test_unbound_loss_says_what_to_do():
    with pytest.raises(ValueError, match=r'call bind\(\)'):
        WKDLogitLoss()(*logits())


def test_state_dict_stays_empty():
    assert bound().state_dict() == {}


def test_losses_are_registered():
    assert isinstance(MODELS.build(dict(type='WKDLogitLoss')), WKDLogitLoss)
    assert isinstance(
        MODELS.build(dict(type='WKDFeatureLoss', grid=4)), WKDFeatureLoss
    )


@pytest.mark.parametrize(
    ('cls', 'options', 'message'),
    [
        (WKDLogitLoss, dict(temperature=0), 'temperature must be positive'),
        (WKDLogitLoss, dict(kappa=-1), 'kappa must be positive, got -1'),
        (WKDLogitLoss, dict(loss_weight='1e-3'), "finite number, got '1e-3'"),
        (WKDLogitLoss, dict(loss_weight=math.inf), 'finite number, got inf'),
        (WKDLogitLoss, dict(num_iters=2.5), r'whole number, got 2\.5'),
        (WKDLogitLoss, dict(cost=None), 'cost must be .* got None'),
        (WKDFeatureLoss, dict(levels=2), 'levels must be a list .* got 2'),
        (WKDLogitLoss, dict(gamma=-1), 'gamma must not be negative'),
        (WKDLogitLoss, dict(num_iters=0), 'num_iters must be at least 1'),
        (
            WKDLogitLoss,
            dict(reg=float('nan')),
            'reg must be positive, got nan',
        ),
        (WKDLogitLoss, dict(background_weight=2), r'lie in \[0, 1\], got 2'),
        (WKDLogitLoss, dict(gamma=math.nan), 'gamma must not be negative'),
        (WKDFeatureLoss, dict(ratio=math.nan), 'got nan'),
        (WKDFeatureLoss, dict(loss_weight=math.nan), 'got nan'),
        (WKDFeatureLoss, dict(covariance='block'), "got 'block'"),
        (WKDFeatureLoss, dict(grid=0), 'grid must be at least 1, got 0'),
        (WKDFeatureLoss, dict(ratio=-1), 'ratio must not be negative'),
        (WKDFeatureLoss, dict(levels=(1, 1)), r'must be unique, got \[1, 1\]'),
        (WKDFeatureLoss, dict(eps=0), 'eps must be positive'),
        (WKDFeatureLoss, dict(loss_weight=-1), 'loss_weight must not be'),
        (WKDFeatureLoss, dict(reduction='median'), "got 'median'"),
    ],
)
def test_bad_options_are_refused(cls, options, message):
    with pytest.raises(ValueError, match=message):
        cls(**options)
