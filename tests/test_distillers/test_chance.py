import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from mmwkd.distillers import chance
from mmwkd.distillers.chance import ChanceCheck


@pytest.fixture
def warnings(monkeypatch):
    """Messages logged by a check."""
    logged = []
    monkeypatch.setattr(
        chance, 'print_log', lambda message, *a, **k: logged.append(message)
    )
    return logged


def batch(sharpness, *, num_categories=4, num_rois=50, background=0.5):
    """Logits that are right by a margin of `sharpness`, and labels."""
    labels = torch.randint(num_categories - 1, (num_rois,))
    labels[torch.rand(num_rois) < background] = num_categories - 1
    right = torch.nn.functional.one_hot(labels, num_categories)
    return torch.randn(num_rois, num_categories) + sharpness * right, labels


def test_a_guess_is_named_with_both_numbers(warnings):
    batches = [batch(0.0) for _ in range(3)]
    check = ChanceCheck(3)
    for logits, labels in batches:
        check(logits, labels)
    entropies = [
        -log_softmax(row.double().numpy())[label]
        for logits, labels in batches
        for row, label in zip(logits, labels, strict=True)
        if label < 3
    ]
    (message,) = warnings
    assert f'RoIs is {np.mean(entropies):.2f} over the first 3' in message
    assert f'among 4 categories has {np.log(4):.2f};' in message
    assert 'teacher.checkpoint' in message


def test_knowledge_is_not_warned_of(warnings):
    check = ChanceCheck(3)
    for _ in range(5):
        check(*batch(4.0))
    assert warnings == []


def test_sharp_and_wrong_is_warned_of(warnings):
    logits, labels = batch(20.0)
    ChanceCheck(1)(logits, (labels + 1) % 3)
    assert len(warnings) == 1


def test_background_alone_is_not_judged(warnings):
    check = ChanceCheck(2)
    check(*batch(0.0, background=1.0))
    check(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    assert warnings == []


def test_background_does_not_hide_a_guess(warnings):
    logits, labels = batch(0.0, background=0.9)
    logits[labels == 3, 3] += 100
    ChanceCheck(1)(logits, labels)
    assert len(warnings) == 1


def test_an_infinite_background_entropy_does_not_count(warnings):
    logits, labels = batch(4.0)
    logits[labels == 3, 3] = -torch.inf
    ChanceCheck(1)(logits, labels)
    assert warnings == []


def test_half_precision_and_strided_logits(warnings):
    logits, labels = batch(4.0)
    ChanceCheck(1)(logits.half().T.contiguous().T, labels)
    assert warnings == []


def test_the_host_waits_a_step_later_and_never_again(warnings):
    # tensors without values: whoever waits for one raises
    logits, labels = (tensor.to('meta') for tensor in batch(0.0))
    check = ChanceCheck(3)
    for _ in range(3):
        check(logits, labels)
    with pytest.raises((NotImplementedError, RuntimeError), match='meta'):
        check(logits, labels)
    check(None, None)
    assert warnings == []
