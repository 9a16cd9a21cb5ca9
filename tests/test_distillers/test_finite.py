"""A teacher that is not finite is named, if not at once."""

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmwkd.distillers.finite import FiniteCheck
from mmwkd.distillers.late import LateValues

GOOD = torch.tensor(1.0)
BAD = torch.tensor(torch.nan)


def samples(path='a.jpg', box=0.0):
    sample = DetDataSample(metainfo=dict(img_path=path))
    sample.gt_instances = InstanceData(bboxes=torch.full((1, 4), box))
    return [sample]


def tensors(**changes):
    return {
        'neck feature map 0': torch.ones(2, 3),
        'class logits of stage 0': torch.ones(4, dtype=torch.float16),
    } | changes


@pytest.mark.parametrize('value', [torch.nan, torch.inf, -torch.inf])
def test_the_tensor_and_the_images_are_named(value):
    logits = torch.full((4,), 60000.0, dtype=torch.float16)
    check = FiniteCheck()
    check([GOOD, GOOD], tensors(logits=logits), samples())
    logits = logits.clone()
    logits[1] = value
    with pytest.raises(
        FloatingPointError, match=r"teacher's logits is .* a\.jpg; check"
    ):
        check([GOOD, BAD], tensors(logits=logits), samples())


def test_the_student_alone_may_overflow():
    FiniteCheck()([BAD], tensors(), samples())


def test_what_no_loss_felt_is_not_judged():
    FiniteCheck()([GOOD], tensors(unused=torch.tensor(torch.inf)), samples())


def test_a_broken_box_is_named_first():
    broken = tensors(deltas=torch.tensor(torch.nan))
    with pytest.raises(ValueError, match=r'annotations of .*b\.jpg'):
        FiniteCheck()([BAD], broken, samples('b.jpg', torch.nan))


def test_a_step_is_judged_when_its_flags_are_ready(monkeypatch):
    """As on a GPU: the step that is named is the one that was broken."""
    ready = []
    monkeypatch.setattr(LateValues, 'ready', lambda self: self in ready)
    check = FiniteCheck()
    broken = tensors(deltas=torch.tensor(torch.nan))
    check([GOOD], tensors(), samples('first.jpg'))
    check([BAD], broken, samples('second.jpg'))
    check([GOOD], tensors(), samples('third.jpg'))
    ready += [step.finite for step in check._pending]
    with pytest.raises(FloatingPointError, match=r'deltas .* second\.jpg;'):
        check([GOOD], tensors(), samples('fourth.jpg'))


def test_another_device_is_read_a_step_later():
    late = LateValues(torch.ones(2, device='meta'))
    assert not late.ready()
    assert late.ready()
    assert LateValues(torch.ones(2)).ready()
