import numpy as np
import pytest
import torch
from scipy.spatial.distance import cosine
from torch.testing import assert_close

from mmwkd.functional import (
    centroid_interrelation,
    classifier_interrelation,
    confusion_interrelation,
    interrelation_to_cost,
    paired_cka_interrelation,
)


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


def random_means(seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(6, 4)))


def random_probabilities(seed=2):
    logits = np.random.default_rng(seed).normal(size=(6, 6))
    return torch.from_numpy(logits).softmax(dim=1)


def random_samples(seed=3):
    generator = np.random.default_rng(seed)
    return [
        torch.from_numpy(generator.normal(size=(rows, 4)))
        for rows in (9, 5, 7, 5, 8, 6)
    ]


ESTIMATES = {
    'centroid': (centroid_interrelation, random_means),
    'confusion': (confusion_interrelation, random_probabilities),
    'paired_cka': (paired_cka_interrelation, random_samples),
}


@pytest.fixture(params=ESTIMATES)
def estimate(request):
    """An estimator and input for it."""
    function, inputs = ESTIMATES[request.param]
    return function, inputs()


def on_each(inputs, function):
    """Apply a function to a tensor, or to each of several."""
    if isinstance(inputs, torch.Tensor):
        return function(inputs)
    return [function(tensor) for tensor in inputs]


def test_estimates_are_interrelations(estimate):
    function, inputs = estimate
    matrix = function(on_each(inputs, lambda t: t.requires_grad_()))
    assert matrix.shape == (6, 6)
    assert matrix.dtype == torch.float64
    assert not matrix.requires_grad
    assert torch.equal(matrix, matrix.T)
    assert torch.equal(matrix.diagonal(), torch.ones(6).double())
    assert matrix.min() >= 0
    assert matrix.max() <= 1


def test_estimates_do_not_depend_on_the_unit(estimate):
    """Nor do they overflow or underflow in float32."""
    function, inputs = estimate
    expected = function(inputs)
    for scale in (1e-30, 1e30):
        scaled = on_each(inputs, lambda t, s=scale: (t * s).float())
        if function is confusion_interrelation:
            scaled = on_each(inputs, lambda t, s=scale: t * s)
        assert_close(function(scaled), expected, rtol=0, atol=1e-5)


def test_estimates_take_non_contiguous_input(estimate):
    function, inputs = estimate
    strided = on_each(
        inputs, lambda t: t.repeat_interleave(2, dim=-1)[..., ::2]
    )
    assert_close(function(strided), function(inputs))


def off_diagonal(function):
    """Matrix of a function of two indices, 1 on the diagonal."""
    matrix = torch.ones(6, 6).double()
    for i in range(6):
        for j in range(6):
            if i != j:
                matrix[i, j] = function(i, j)
    return matrix


def test_centroid_is_a_cosine_of_centred_means():
    means = random_means()
    centred = (means - means.mean(dim=0)).numpy()
    assert_close(
        centroid_interrelation(means),
        off_diagonal(lambda i, j: max(1 - cosine(centred[i], centred[j]), 0)),
    )


def test_centroid_ignores_what_categories_share():
    means = random_means()
    assert_close(
        centroid_interrelation(means + 1000), centroid_interrelation(means)
    )


def test_confusion_is_a_bhattacharyya_coefficient():
    rows = random_probabilities()
    assert_close(
        confusion_interrelation(rows),
        off_diagonal(lambda i, j: sum((rows[i] * rows[j]) ** 0.5)),
    )


def test_confusion_of_known_predictions():
    certain = torch.eye(6).double()
    assert torch.equal(confusion_interrelation(certain), certain)
    guessing = torch.full((6, 6), 1 / 6)
    assert_close(confusion_interrelation(guessing), torch.ones(6, 6).double())


def test_paired_cka_follows_the_published_formula():
    samples = [t[:5] - t[:5].mean(dim=0) for t in random_samples()]

    def norm(i, j):
        return torch.linalg.norm(samples[i].T @ samples[j])

    assert_close(
        paired_cka_interrelation(random_samples()),
        off_diagonal(lambda i, j: norm(j, i) ** 2 / (norm(i, i) * norm(j, j))),
    )


def test_paired_cka_does_not_depend_on_a_rotation_of_features():
    samples = random_samples()
    rotated, _ = torch.linalg.qr(random_means()[:4])
    expected = paired_cka_interrelation(samples)
    samples[2] = samples[2] @ rotated
    assert_close(paired_cka_interrelation(samples), expected)


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (
            lambda: centroid_interrelation(torch.full((3, 2), 0.1)),
            r'centred class means \[0, 1, 2\] are zero',
        ),
        (
            lambda: centroid_interrelation(torch.ones(1, 2)),
            r'centred class means \[0\] are zero',
        ),
        (
            lambda: confusion_interrelation(torch.tensor([[1, 0], [-1, 2.0]])),
            r'mean probabilities \[1\] are zero or not finite',
        ),
        (
            lambda: paired_cka_interrelation([torch.eye(3), torch.ones(4, 3)]),
            r'samples \[1\] are zero',
        ),
    ],
)
def test_undefined_relations_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_weights_must_not_be_integers():
    with pytest.raises(ValueError, match='weight must be of a floating-point'):
        classifier_interrelation(torch.ones(3, 2, dtype=torch.int64))


def test_no_categories_have_no_relations():
    for function in (centroid_interrelation, confusion_interrelation):
        assert function(torch.ones(0, 3)).shape == (0, 0)
