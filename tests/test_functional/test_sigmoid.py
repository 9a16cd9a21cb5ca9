import itertools

import pytest
import torch
from torch.testing import assert_close

from mmwkd.functional import (
    add_unrelated,
    append_background,
    joint_logit,
)


@pytest.fixture
def logits():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)


def test_background_is_the_law_of_at_most_one_category(logits):
    """Against the enumeration of all subsets of the categories."""
    scores = logits[0].sigmoid()  # (R, C)
    num_classes = scores.shape[1]
    mass = torch.zeros(len(scores), num_classes + 1, dtype=scores.dtype)
    for subset in itertools.product([0, 1], repeat=num_classes):
        chosen = torch.tensor(subset, dtype=torch.bool)
        if chosen.sum() <= 1:
            category = int(chosen.float().argmax()) if chosen.any() else -1
            mass[:, category] += torch.where(chosen, scores, 1 - scores).prod(
                dim=1
            )
    expected = mass / mass.sum(dim=1, keepdim=True)
    assert_close(append_background(logits[0]).softmax(dim=1), expected)


def test_a_single_sigmoid_keeps_its_probability(logits):
    alone = logits[0, :, :1]
    shares = append_background(alone).softmax(dim=1)
    assert_close(shares[:, :1], alone.sigmoid())


def test_small_scores_are_their_own_probabilities():
    logits = torch.tensor([[-9.0, -12.0, -10.0]], dtype=torch.float64)
    shares = append_background(logits).softmax(dim=1)
    assert_close(shares[:, :3], logits.sigmoid(), rtol=2e-4, atol=0)


def test_joint_logit_is_that_of_the_product(logits):
    a, b = logits
    joint = joint_logit(a, b)
    assert_close(joint.sigmoid(), a.sigmoid() * b.sigmoid())
    assert_close(joint, joint_logit(b, a))


@pytest.mark.parametrize('a', [-100.0, 0.0, 100.0])
@pytest.mark.parametrize('b', [-100.0, 0.0, 100.0])
def test_joint_logit_is_finite_with_its_gradient(a, b):
    pair = torch.tensor([a, b], requires_grad=True)
    joint = joint_logit(pair[:1], pair[1:])
    joint.sum().backward()
    assert joint.isfinite()
    assert joint < min(a, b) + 1e-3
    assert pair.grad.isfinite().all()
    assert_close(pair.grad.sum(), torch.ones(()).expand(()), atol=1, rtol=0)


def test_joint_logit_broadcasts_and_has_the_right_gradient(logits):
    a = logits[0].clone().requires_grad_()
    b = logits[1, :, :1].clone().requires_grad_()
    assert torch.autograd.gradcheck(joint_logit, (a, b))


def test_an_unrelated_category_is_like_itself_alone():
    interrelation = torch.tensor([[1.0, 0.3], [0.3, 1.0]])
    larger = add_unrelated(interrelation)
    assert_close(larger[:2, :2], interrelation)
    assert_close(larger[2], torch.tensor([0.0, 0.0, 1.0]))
    assert_close(larger, larger.T)
