import pytest
import torch
from mmdet.models.losses import SmoothL1Loss
from torch.testing import assert_close

from mmwkd.functional import smooth_l1_term


@pytest.fixture
def deltas():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 6, 4, generator=generator, dtype=torch.float64) * 2


@pytest.mark.parametrize('beta', [0.1, 1.0])
def test_is_mmdets_smooth_l1_summed_over_coordinates(deltas, beta):
    expected = SmoothL1Loss(beta=beta, reduction='none')(*deltas).sum(dim=1)
    assert_close(smooth_l1_term(*deltas, beta=beta), expected)


def test_the_teacher_is_a_constant(deltas):
    student_deltas, teacher_deltas = (
        d.clone().requires_grad_() for d in deltas
    )
    assert torch.autograd.gradcheck(
        lambda x: smooth_l1_term(x, teacher_deltas), (student_deltas,)
    )
    smooth_l1_term(student_deltas, teacher_deltas).sum().backward()
    assert teacher_deltas.grad is None
    assert_close(
        smooth_l1_term(teacher_deltas, teacher_deltas), torch.zeros(6).double()
    )


def test_half_precision_empty_and_strided_input(deltas):
    half = deltas.half()
    value = smooth_l1_term(*half)
    assert value.dtype == torch.float32
    assert_close(value, smooth_l1_term(*half.float()))
    assert smooth_l1_term(*deltas[:, :0]).shape == (0,)
    strided = deltas.transpose(1, 2).contiguous().transpose(1, 2)
    assert_close(smooth_l1_term(*strided), smooth_l1_term(*deltas))


def test_bad_input_is_refused(deltas):
    with pytest.raises(ValueError, match=r'one shape, got \(6, 4\) and \(5'):
        smooth_l1_term(deltas[0], deltas[1, 1:])
    with pytest.raises(ValueError, match='beta must be positive, got 0'):
        smooth_l1_term(*deltas, beta=0)
