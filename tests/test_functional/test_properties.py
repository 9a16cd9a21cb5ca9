"""Laws of all public functions, on any input that hypothesis can think of."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

import mmwkd.functional as WF
from tests.strategies import PATTERNS, deltas, logits, maps, quick, tensors


def cost_of(num_categories):
    """A symmetric cost in [0, 1) that is 0 on the diagonal."""
    draw = torch.Generator().manual_seed(num_categories)
    points = torch.rand(num_categories, 2, generator=draw)
    return 1 - (-2 * torch.cdist(points, points)).exp()


def transport(separate):
    def call(s, t, y, cost=None):
        cost = cost_of(s.shape[1]) if cost is None else cost
        return WF.transport_term(s, t, cost, y if separate else None)

    return call


LOGIT_TERMS = {
    'kd': lambda s, t, y: WF.kd_term(s, t, temperature=2.0),
    'tckd': lambda s, t, y: WF.dkd_terms(s, t, y)[0],
    'nckd': lambda s, t, y: WF.dkd_terms(s, t, y)[1],
    'target': WF.target_term,
    **{
        f'transport {separate}': transport(separate)
        for separate in (True, False)
    },
}
FEATURE_TERMS = {
    'fitnet': WF.fitnet_term,
    'pkd': WF.pkd_term,
    'cwd': WF.cwd_term,
    **{
        f'{covariance} {term}': (
            lambda s, t, covariance=covariance, index=index: (
                WF.gaussian_wasserstein(s, t, covariance=covariance)[index]
            )
        )
        for covariance in ('diag', 'full')
        for index, term in enumerate(['mean', 'cov'])
    },
}
ZERO_FOR_EQUAL = (
    *('kd', 'tckd', 'nckd', 'binary kd'),
    *FEATURE_TERMS,
)


def check_value_and_gradient(term, student, *others):
    student = student.detach().requires_grad_()
    value = term(student, *others)
    assert value.shape == student.shape[:1]
    assert value.dtype in (torch.float32, torch.float64)
    assert value.isfinite().all()
    (gradient,) = torch.autograd.grad(value.sum(), student)
    assert gradient.dtype == student.dtype
    # one that is beyond 65504 is infinite in float16
    in_range = student.dtype is not torch.float16
    assert gradient.isfinite().all() if in_range else ~gradient.isnan().any()
    return value.detach()


def tolerance(value, *feats):
    """Rounding of float32, relative to the largest or to summed squares."""
    squares = [each.double().square().sum() for each in feats]
    largest = torch.stack([value.abs().sum().double(), *squares]).max().item()
    return dict(rtol=1e-4, atol=1e-6 * max(1, largest))


@pytest.mark.parametrize('name', LOGIT_TERMS)
@quick
@given(logits())
def test_laws_of_terms_on_logits(name, case):
    term = LOGIT_TERMS[name]
    student, teacher, target = case
    value = check_value_and_gradient(term, student, teacher, target)
    close = tolerance(value)
    assert (value >= -close['atol']).all()
    plain = [
        each.clone(memory_format=torch.contiguous_format) for each in case
    ]
    assert_close(term(*plain), value, **close)
    if name in ZERO_FOR_EQUAL:
        assert_close(term(student, student, target), 0 * value, **close)
    rois = torch.randperm(len(student))
    assert_close(term(*(each[rois] for each in case)), value[rois], **close)
    order = torch.randperm(student.shape[1])
    if name == 'binary kd':  # all categories are compared with the last
        order = torch.cat([order[order < order.max()], order.max()[None]])
    options = {}
    if name.startswith('transport'):
        options['cost'] = cost_of(len(order))[order][:, order]
    permuted = term(
        student[:, order],
        teacher[:, order],
        order.argsort()[target.long()],
        **options,
    )
    assert_close(permuted, value, **close)


@pytest.mark.parametrize('name', LOGIT_TERMS)
@pytest.mark.parametrize('broken', [float('nan'), float('inf')])
def test_a_broken_roi_is_nan_and_alone(name, broken):
    student, teacher = torch.randn(2, 5, 4)
    target = torch.tensor([0, 1, 2, 3, 0])
    expected = LOGIT_TERMS[name](student, teacher, target)
    student[2, 1] = broken
    value = LOGIT_TERMS[name](student, teacher, target)
    assert not value[2].isfinite()
    others = torch.tensor([0, 1, 3, 4])
    assert_close(value[others], expected[others])


@pytest.mark.parametrize('name', FEATURE_TERMS)
@quick
@given(maps())
def test_laws_of_terms_on_maps(name, case):
    term = FEATURE_TERMS[name]
    student, teacher = case
    value = check_value_and_gradient(term, student, teacher)
    close = tolerance(value, student, teacher)
    assert (value >= -close['atol']).all()
    plain = [
        each.clone(memory_format=torch.contiguous_format) for each in case
    ]
    assert_close(term(*plain), value, **close)
    if name in ZERO_FOR_EQUAL:
        assert_close(term(student, student), 0 * value, **close)
    order = torch.randperm(len(student))
    assert_close(term(student[order], teacher[order]), value[order], **close)
    channels = torch.randperm(student.shape[1])
    permuted = term(student[:, channels], teacher[:, channels])
    assert_close(permuted, value, **close)
    mirrored = term(student.flip(3), teacher.flip(3))
    assert_close(mirrored, value, **close)


@pytest.mark.parametrize('covariance', ['diag', 'full'])
@quick
@given(maps(), st.integers(1, 4))
def test_every_grid_stays_finite(covariance, case, grid):
    for index in range(2):
        check_value_and_gradient(
            lambda s, t, index=index: WF.gaussian_wasserstein(
                s, t, grid=grid, covariance=covariance
            )[index],
            *case,
        )


@st.composite
def statistics(draw):
    """What the estimators read: K rows of D features, any magnitude."""
    shape = draw(st.integers(2, 5)), draw(st.integers(1, 5))
    return draw(tensors(shape, (*PATTERNS, 'huge')))


ESTIMATES = {
    'classifier': WF.classifier_interrelation,
    'centroid': WF.centroid_interrelation,
    'confusion': lambda rows: WF.confusion_interrelation(
        rows.double().abs() @ rows.double().abs().T
    ),
    'cka': lambda rows: WF.paired_cka_interrelation(
        [rows * (1 + k) + rows.roll(k, 0) for k in range(len(rows))]
    ),
}


@pytest.mark.parametrize('name', ESTIMATES)
@quick
@given(statistics())
def test_estimates_are_interrelations_or_refused(name, rows):
    try:
        found = ESTIMATES[name](rows)
    except ValueError:  # names rows, as other tests assert
        return
    assert found.shape == (len(rows), len(rows))
    assert found.isfinite().all()
    assert torch.equal(found, found.T)
    assert (found.diagonal() == 1).all()
    assert ((found >= 0) & (found <= 1)).all()
    cost = WF.interrelation_to_cost(found, 2.0)
    assert (cost.diagonal() == 0).all()
    assert ((cost >= 0) & (cost < 1)).all()


@quick
@given(logits(), st.integers(1, 20))
def test_costs_of_histograms_are_convex_combinations(case, num_iters):
    student, teacher, _ = case
    dtypes = torch.promote_types(student.dtype, torch.float32)
    p, q = (each.to(dtypes).softmax(dim=1) for each in (student, teacher))
    cost = cost_of(p.shape[1])
    value = WF.sinkhorn_cost(p, q, cost.to(dtypes), num_iters=num_iters)
    assert value.shape == p.shape[:1]
    assert (value >= 0).all()
    assert (value <= cost.max() + 1e-5).all()


@quick
@given(deltas())
def test_laws_of_terms_on_boxes(case):
    student, teacher = case
    value = check_value_and_gradient(WF.smooth_l1_term, student, teacher)
    close = tolerance(value)
    assert (value >= 0).all()
    assert_close(WF.smooth_l1_term(student, student), 0 * value, **close)
    order = torch.randperm(4)
    permuted = WF.smooth_l1_term(student[:, order], teacher[:, order])
    assert_close(permuted, value, **close)


@quick
@given(logits())
def test_laws_of_sigmoids(case):
    first, second, _ = case
    joint = WF.joint_logit(first, second)
    assert joint.isfinite().all()
    assert_close(joint, WF.joint_logit(second, first))
    smaller = torch.minimum(*(each.to(joint) for each in (first, second)))
    assert (joint <= smaller + 1e-6 * smaller.abs()).all()
    with_background = WF.append_background(first)
    assert torch.equal(with_background[:, :-1], first)
    assert not with_background[:, -1].any()


@quick
@given(maps())
def test_laws_of_standardized_features(case):
    feats, _ = case
    standard = WF.standardize(feats)
    assert standard.shape == feats.shape
    assert standard.isfinite().all()
    if len(feats):
        assert (standard.square().mean(dim=(0, 2, 3)) <= 1 + 1e-3).all()
    with pytest.raises(ValueError, match='floating-point'):
        WF.standardize(feats.long())


@quick
@given(st.integers(1, 5))
def test_an_unrelated_category_changes_no_other(num_categories):
    cost = 1 - cost_of(num_categories)
    larger = WF.add_unrelated(cost)
    assert torch.equal(larger[:-1, :-1], cost)
    assert_close(larger[-1], torch.eye(num_categories + 1)[-1])


def test_every_function_has_its_laws():
    covered = {
        'kd_term',
        'dkd_terms',
        'target_term',
        'transport_term',
        'fitnet_term',
        'pkd_term',
        'cwd_term',
        'gaussian_wasserstein',
        'classifier_interrelation',
        'centroid_interrelation',
        'confusion_interrelation',
        'paired_cka_interrelation',
        'interrelation_to_cost',
        'sinkhorn_cost',
        'append_background',
        'joint_logit',
        'add_unrelated',
        'smooth_l1_term',
        'standardize',
    }
    assert covered == {name for name in WF.__all__ if name.islower()}


@pytest.mark.parametrize('name', {**LOGIT_TERMS, **FEATURE_TERMS})
def test_integers_are_refused(name):
    if name in LOGIT_TERMS:
        values = torch.ones(3, 4, dtype=torch.int64)
        arguments = values, values, values[:, 0]
        term = LOGIT_TERMS[name]
    else:
        values = torch.ones(2, 3, 4, 4, dtype=torch.int64)
        arguments = values, values
        term = FEATURE_TERMS[name]
    with pytest.raises(ValueError, match='of a floating-point type, got .*64'):
        term(*arguments)
