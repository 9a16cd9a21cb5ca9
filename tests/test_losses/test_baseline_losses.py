import pytest
import torch
from mmdet.registry import MODELS
from torch.testing import assert_close

import mmwkd.functional as WF
from mmwkd.losses import LogitLoss

# options that differ from the defaults, and what the terms must then be
CASES = {
    'KDLoss': (
        dict(temperature=3.0),
        lambda s, t, target: {'kl': WF.kd_term(s, t, temperature=3.0)},
    ),
    'DKDLoss': (
        dict(alpha=0.5, beta=3.0, temperature=2.0),
        lambda s, t, target: {
            'target': 0.5 * WF.dkd_terms(s, t, target, temperature=2.0)[0],
            'nontarget': 3 * WF.dkd_terms(s, t, target, temperature=2.0)[1],
        },
    ),
    'FitNetLoss': ({}, lambda s, t: {'mse': WF.fitnet_term(s, t)}),
    'PKDLoss': (
        dict(eps=0.1),
        lambda s, t: {'pearson': WF.pkd_term(s, t, eps=0.1)},
    ),
    'CWDLoss': (
        dict(temperature=2.0),
        lambda s, t: {'kl': WF.cwd_term(s, t, temperature=2.0)},
    ),
}


def arguments(loss, size=6):
    if isinstance(loss, LogitLoss):
        student, teacher = torch.randn(2, size, 5)
        return student.requires_grad_(), teacher, torch.arange(size) % 5
    student, teacher = torch.randn(2, size, 3, 4, 4)
    return student.requires_grad_(), teacher


@pytest.mark.parametrize('name', CASES)
def test_loss_is_the_formula(name):
    options, formula = CASES[name]
    loss = MODELS.build(dict(type=name, loss_weight=0.5, **options))
    args = arguments(loss)
    expected = formula(*args)
    assert_close(loss.terms(*args), expected)
    assert tuple(expected) == loss.term_names
    total = sum(expected.values())
    assert_close(loss(*args), 0.5 * total.mean())
    weight = torch.rand(6)
    assert_close(
        loss(*args, weight, avg_factor=3.0), 0.5 * (weight * total).sum() / 3
    )
    assert_close(loss(*args, reduction_override='none'), 0.5 * total)


@pytest.mark.parametrize('name', CASES)
def test_options_change_the_loss(name):
    options, _ = CASES[name]
    loss = MODELS.build(dict(type=name, **options))
    args = arguments(loss)
    value = loss(*args)
    for option in options:
        others = {k: v for k, v in options.items() if k != option}
        changed = MODELS.build(dict(type=name, **others))
        assert not torch.allclose(changed(*args), value), option


@pytest.mark.parametrize('name', CASES)
def test_nothing_gives_an_exact_zero_in_the_graph(name):
    loss = MODELS.build(dict(type=name))
    args = arguments(loss, 0)
    value = loss(*args)
    assert value.item() == 0.0
    value.backward()
    assert args[0].grad is not None


@pytest.mark.parametrize('name', CASES)
def test_options_are_known_shown_and_not_saved(name):
    options, _ = CASES[name]
    loss = MODELS.build(dict(type=name, loss_weight=0.25, **options))
    assert {'loss_weight', 'reduction', 'background_weight'} | set(
        options
    ) <= set(loss.options())
    for option, value in options.items():
        assert f'{option}={value!r}' in repr(loss)
    assert 'loss_weight=0.25' in repr(loss)
    assert loss.state_dict() == {}


@pytest.mark.parametrize('name', CASES)
def test_options_of_every_loss_are_checked(name):
    with pytest.raises(ValueError, match='loss_weight must not be negative'):
        MODELS.build(dict(type=name, loss_weight=-1))
    with pytest.raises(TypeError, match='temprature'):
        MODELS.build(dict(type=name, temprature=1))


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        ('KDLoss', dict(temperature=0), 'temperature must be positive'),
        ('DKDLoss', dict(temperature=0), 'temperature must be positive'),
        ('DKDLoss', dict(alpha=-1), 'alpha must not be negative, got -1'),
        ('DKDLoss', dict(beta=-1), 'beta must not be negative, got -1'),
        ('FitNetLoss', dict(levels=(0, 0)), 'levels must be unique'),
        ('PKDLoss', dict(eps=0), 'eps must be positive, got 0'),
        ('CWDLoss', dict(temperature=0), 'temperature must be positive'),
    ],
)
def test_bad_options_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type=name, **options))
