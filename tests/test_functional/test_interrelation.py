import pytest
import torch
from torch.testing import assert_close

from mmwkd.functional import classifier_interrelation, interrelation_to_cost


def test_cost_follows_the_formula():
    interrelation = torch.rand(5, 5, dtype=torch.float64)
    expected = 1 - torch.exp(-1.7 * (1 - interrelation))
    assert_close(interrelation_to_cost(interrelation, 1.7), expected)


def test_cost_of_near_identical_categories_keeps_its_digits():
    interrelation = torch.tensor([[1.0, 1 - 2.0**-20], [1 - 2.0**-20, 1.0]])
    cost = interrelation_to_cost(interrelation, 1.0)
    assert_close(cost[0, 1].item(), 2.0**-20, rtol=1e-5, atol=0)
    assert cost[0, 0] == 0


@pytest.mark.parametrize(
    ('shape', 'kappa', 'message'),
    [
        ((3, 4), 1.0, r'square matrix, got shape \(3, 4\)'),
        ((3, 3), 0.0, 'kappa must be positive, got 0.0'),
        ((3, 3), float('nan'), 'kappa must be positive, got nan'),
    ],
)
def test_bad_cost_arguments_are_refused(shape, kappa, message):
    with pytest.raises(ValueError, match=message):
        interrelation_to_cost(torch.ones(shape), kappa)


def test_classifier_interrelation_is_a_clamped_cosine():
    weight = torch.tensor([[1.0, 0.0], [1.0, 1.0], [-3.0, 0.0]])
    expected = torch.tensor(
        [[1.0, 0.5**0.5, 0.0], [0.5**0.5, 1.0, 0.0], [0.0, 0.0, 1.0]]
    )
    assert_close(classifier_interrelation(weight), expected)


def test_classifier_interrelation_is_symmetric_and_detached():
    weight = torch.randn(30, 64, requires_grad=True)
    interrelation = classifier_interrelation(weight)
    assert torch.equal(interrelation, interrelation.T)
    assert torch.equal(interrelation.diagonal(), torch.ones(30))
    assert not interrelation.requires_grad


def test_zero_and_broken_rows_are_named():
    weight = torch.ones(4, 3)
    weight[1] = 0
    weight[3, 0] = torch.nan
    with pytest.raises(ValueError, match=r'rows \[1, 3\]'):
        classifier_interrelation(weight)
