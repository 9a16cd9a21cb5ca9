"""Losses are brought to the scale of the student's own."""

import copy
import io

import pytest
import torch
from mmdet.registry import MODELS
from torch.testing import assert_close

from mmwkd.distillers import balance as module
from mmwkd.distillers.balance import GradientBalance, squared_gradient, total
from mmwkd.testing import tiny_batch, tiny_retinanet

PLACES = ('logit', 'neck', 'roi')


@pytest.fixture(autouse=True)
def _heads_at_work(monkeypatch):
    """As they are once training is under way, and none of these is."""
    monkeypatch.setattr(module, '_ELASTICITY', 0.0)


def shares(distiller, batch=None):
    """Gradient of each place beside that of the student's own losses."""
    data = distiller.data_preprocessor(batch or tiny_batch(), training=True)
    own, step = distiller.observe(**_as_arguments(data))
    maps = step.student.neck_feats
    losses = distiller._distil(own, step)
    norm = squared_gradient(total(own), maps).sqrt()
    return {
        place: (
            squared_gradient(
                total({k: v for k, v in losses.items() if f'_{place}_' in k}),
                maps,
            ).sqrt()
            / norm
        ).item()
        for place in distiller.places
    }


def _as_arguments(data):
    return dict(
        batch_inputs=data['inputs'], batch_data_samples=data['data_samples']
    )


def test_each_place_gets_its_share(build):
    distiller = build(balance_interval=1)
    for place, share in shares(distiller).items():
        wanted = distiller._places[place].share
        assert share == pytest.approx(wanted, rel=1e-4), place


@pytest.mark.parametrize('scale', [1e-2, 1e2])
def test_units_of_the_features_do_not_matter(build, scale):
    distiller = build(balance_interval=1, logit_loss=None)
    for place in distiller._places.values():
        terms = place.loss.terms
        place.loss.terms = lambda *args, terms=terms, **options: {
            name: scale * term
            for name, term in terms(*args, **options).items()
        }
    assert shares(distiller) == pytest.approx(
        dict(neck=1.5, roi=1.5), rel=1e-4
    )


def test_loss_weight_multiplies(build):
    roi_loss = dict(type='WKDFeatureLoss', loss_weight=0.25)
    distiller = build(balance_interval=1, roi_loss=roi_loss)
    assert shares(distiller)['roi'] == pytest.approx(0.25 * 1.5, rel=1e-4)


@pytest.mark.parametrize('weight', [1e-3, 1e-6])
def test_a_small_loss_weight_is_not_taken_for_rounding(weight):
    maps = [torch.ones(2, requires_grad=True)]
    balance = GradientBalance({'neck': weight}, {'neck': ''}, 20)
    own, term = 100 * maps[0].sum(), weight * maps[0].sum()
    balance.measure({'loss_cls': own}, {'neck': {'loss': term}}, maps)
    assert balance.factors()['neck'].item() == pytest.approx(100)


def test_a_loss_weight_of_0_is_an_exact_0(build, step):
    roi_loss = dict(type='WKDFeatureLoss', loss_weight=0.0)
    losses = step(build(balance_interval=1, roi_loss=roi_loss))
    assert losses['loss_wkd_roi_mean'] == 0
    assert losses['balance_roi'].isfinite()


def test_after_the_first_iterations_it_is_measured_now_and_then():
    maps = [torch.ones(2, requires_grad=True)]
    balance = GradientBalance({'neck': 1.0}, {'neck': ''}, 20)
    measured = []
    for iteration in range(150):
        before = balance.counts.item()
        own = {'loss_cls': maps[0].sum()}
        balance.measure(own, {'neck': {'loss': maps[0].sum()}}, maps)
        if balance.counts.item() > before:
            measured.append(iteration)
    assert measured == [*range(100), 100, 120, 140]


def test_factors_follow_the_student():
    maps = [torch.ones(2, requires_grad=True)]
    balance = GradientBalance({'neck': 1.0}, {'neck': ''}, 20)
    for iteration in range(600):
        scale = 10.0 if iteration < 50 else 1.0  # while the rate warms up
        own = {'loss_cls': scale * maps[0].sum()}
        balance.measure(own, {'neck': {'loss': maps[0].sum()}}, maps)
        if iteration == 40:
            assert balance.factors()['neck'].item() == pytest.approx(10)
    assert balance.factors()['neck'].item() == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize(('later', 'factor'), [(0.1, 1.0), (10.0, 0.1)])
def test_a_loss_may_fall_but_not_grow(later, factor):
    """A student that comes near its teacher is to feel less of it."""
    maps = [torch.ones(2, requires_grad=True)]
    balance = GradientBalance({'neck': 1.0}, {'neck': ''}, 20)
    for iteration in range(1200):
        # what the first iterations have is no measure
        scale = 5.0 if iteration < 50 else 1.0 if iteration < 100 else later
        neck = {'loss': scale * maps[0].sum()}
        balance.measure({'loss_cls': maps[0].sum()}, {'neck': neck}, maps)
    assert balance.factors()['neck'].item() == pytest.approx(factor, rel=0.02)


def test_heads_that_let_nothing_through_count_as_heads_at_work(monkeypatch):
    monkeypatch.undo()
    maps = [torch.full((3,), 2.0, requires_grad=True)]
    balance = GradientBalance(
        {'logit': 1.0, 'neck': 1.0}, {}, 20, features=['neck']
    )
    own = {'loss_cls': 6 + 1e-3 * maps[0].sum()}
    losses = {'loss': maps[0].sum()}
    balance.measure(own, {'logit': losses, 'neck': losses}, maps)
    factors = balance.factors()
    # of a loss of 6 at maps of the norm sqrt(12), beside one of sqrt(3)
    expected = 4 * 6.006 / 12**0.5 / 3**0.5
    assert factors['neck'].item() == pytest.approx(expected)
    # what has to pass the heads itself is as small
    assert factors['logit'].item() == pytest.approx(1e-3)


def test_one_wild_batch_changes_little():
    maps = [torch.ones(2, requires_grad=True)]
    balance = GradientBalance({'neck': 1.0}, {'neck': ''}, 20)
    for iteration in range(1000):
        scale = 1e9 if iteration == 500 else 0.01
        neck = {'loss': scale * maps[0].sum()}
        balance.measure({'loss_cls': maps[0].sum()}, {'neck': neck}, maps)
    assert balance.factors()['neck'].item() == pytest.approx(80, rel=0.02)


def test_keys_are_the_same_in_every_iteration(build, step):
    distiller = build(balance_interval=3)
    keys = list(step(distiller))
    distiller.balance.iteration = 101
    assert list(step(distiller)) == keys


def test_they_are_the_geometric_mean_over_iterations():
    maps = [torch.ones(2, requires_grad=True)]
    balance = GradientBalance({'neck': 0.5}, {'neck': ''}, 2)
    for scale in (1.0, 4.0):
        neck = (maps[0] * scale).sum()
        balance.measure(
            {'loss_cls': 8 * maps[0].sum()}, {'neck': {'loss': neck}}, maps
        )
    # ratios 8 and 2
    assert balance.factors()['neck'].item() == pytest.approx(0.5 * 4)


def test_what_cannot_be_measured_keeps_its_scale():
    maps = [torch.ones(2, requires_grad=True)]
    own = {'loss_cls': maps[0].sum()}
    for nothing in (torch.zeros(()), 1e-6 * maps[0].sum(), maps[0].sum() / 0):
        balance = GradientBalance({'neck': 0.5}, {'neck': ''}, 2)
        balance.measure(own, {'neck': {'loss': nothing}}, maps)
        assert balance.factors()['neck'] == 1
        balance.measure(own, {'neck': {'loss': maps[0].sum()}}, maps)
        assert balance.factors()['neck'].item() == pytest.approx(0.5)


def test_half_precision_is_measured_alike():
    def norm(dtype):
        maps = [torch.ones(64, 64, dtype=dtype, requires_grad=True)]
        # 3e-8 of each position, which float16 rounds to 0
        loss = (1e-4 * maps[0]).mean()
        return squared_gradient(loss, maps).sqrt().item()

    assert norm(torch.float16) == pytest.approx(norm(torch.float32), rel=1e-2)


def test_measuring_changes_no_gradient(build, step):
    def run(distiller):
        torch.manual_seed(0)  # RoIs are sampled
        return step(distiller)

    measuring = build(balance_interval=1)
    run(measuring)
    frozen = copy.deepcopy(measuring)
    frozen.balance.frozen = True
    gradients = []
    for distiller in (frozen, measuring):
        total(run(distiller)).backward()
        gradients.append(
            [p.grad for p in distiller.parameters() if p.grad is not None]
        )
    for once, twice in zip(*gradients, strict=True):
        assert_close(once, twice)


def test_a_checkpoint_keeps_what_was_measured(build, step):
    first = build(balance_interval=1)
    for seed in range(2):
        step(first, tiny_batch(seed=seed))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    resumed = build(balance_interval=1)
    resumed.load_state_dict(state)
    assert resumed.balance.iteration == 2
    assert resumed.balance.factors() == first.balance.factors()


def test_factors_of_other_losses_are_not_taken(build, step):
    first = build(balance_interval=1)
    step(first)
    other = build(balance_interval=1, roi_loss=dict(type='FitNetLoss'))
    other.load_state_dict(first.state_dict())
    assert other.balance.iteration == 0
    assert all(factor == 1 for factor in other.balance.factors().values())


def test_without_balance_losses_are_their_formulas(build, step):
    losses = step(build(balance_interval=0))
    assert not [name for name in losses if name.startswith('balance')]


def test_a_negative_number_of_iterations_is_refused(build):
    with pytest.raises(ValueError, match='balance_interval.*-1'):
        build(balance_interval=-1)


def test_a_frozen_student_neck_is_trained_as_configured(step):
    student = tiny_retinanet()
    distiller = MODELS.build(
        dict(
            type='DetectorDistiller',
            student=student,
            teacher=dict(config=tiny_retinanet(), allow_random=True),
            logit_loss=dict(type='KDLoss'),
        )
    )
    for part in (distiller.student.backbone, distiller.student.neck):
        part.requires_grad_(False)
    losses = step(distiller)
    assert losses['balance_logit'] == 1
    total(losses).backward()
