"""Padding takes no part in a term on maps."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

import mmwkd.functional as WF
from mmwkd.functional.extents import content_sides
from tests.strategies import quick


def gaussian(covariance, index):
    def term(student, teacher, *, grid=1, extents=None):
        return WF.gaussian_wasserstein(
            student,
            teacher,
            grid=grid,
            covariance=covariance,
            extents=extents,
        )[index]

    return term


GRID_TERMS = {
    f'{covariance} {name}': gaussian(covariance, index)
    for covariance in ('diag', 'full')
    for index, name in enumerate(['mean', 'cov'])
}
# each map by itself
LONE_TERMS = {
    'fitnet': WF.fitnet_term,
    'cwd': WF.cwd_term,
    **GRID_TERMS,
}
# maps depend on one another
TERMS = {**LONE_TERMS, 'pkd': WF.pkd_term}


@st.composite
def padded_batches(draw):
    """Maps of a batch without padding, and of what sizes their content is."""
    num_maps, channels = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    sizes = [
        (draw(st.integers(1, 19)), draw(st.integers(1, 19)))
        for _ in range(num_maps)
    ]
    maps = [
        torch.randn(2, channels, *size, dtype=torch.float64) for size in sizes
    ]
    return maps, torch.tensor(sizes)


def pad(maps, garbage, more=(0, 0)):
    """Student and teacher (N, D, H, W), filled up to the largest and more."""
    height, width = (
        max(each.shape[side] for each in maps) + more[side - 2]
        for side in (2, 3)
    )
    batch = torch.full(
        (2, len(maps), maps[0].shape[1], height, width),
        garbage,
        dtype=torch.float64,
    )
    for index, each in enumerate(maps):
        batch[:, index, :, : each.shape[2], : each.shape[3]] = each
    return batch


def value_and_gradient(term, batch, **options):
    student = batch[0].clone().requires_grad_()
    value = term(student, batch[1], **options)
    (gradient,) = torch.autograd.grad(value.sum(), student)
    return value.detach(), gradient


@pytest.mark.parametrize('name', LONE_TERMS)
@quick
@given(padded_batches(), st.integers(1, 4))
def test_an_image_is_the_same_alone_and_beside_a_larger(name, case, grid):
    term, (maps, sizes) = LONE_TERMS[name], case
    options = {'grid': grid} if name in GRID_TERMS else {}
    batch = pad(maps, float('nan'))
    value, gradient = value_and_gradient(term, batch, extents=sizes, **options)
    for index, (height, width) in enumerate(sizes.tolist()):
        alone, slope = value_and_gradient(
            term, maps[index][:, None], **options
        )
        assert_close(value[index : index + 1], alone, rtol=1e-6, atol=1e-8)
        slopes = gradient[index].clone()
        inside = slopes[:, :height, :width]
        assert_close(inside, slope[0], rtol=1e-5, atol=1e-7)
        inside.zero_()
        assert not slopes.any()


@pytest.mark.parametrize('name', TERMS)
@quick
@given(padded_batches(), st.integers(0, 30), st.integers(0, 30))
def test_more_padding_changes_nothing(name, case, down, right):
    maps, sizes = case
    less = value_and_gradient(TERMS[name], pad(maps, 3.0), extents=sizes)
    batch = pad(maps, float('inf'), (down, right))
    value, gradient = value_and_gradient(TERMS[name], batch, extents=sizes)
    assert_close(value, less[0], rtol=1e-6, atol=1e-8)
    height, width = less[1].shape[2:]
    assert_close(gradient[..., :height, :width], less[1], rtol=1e-5, atol=1e-7)
    assert not gradient[..., height:, :].any()
    assert not gradient[..., width:].any()


@pytest.mark.parametrize('name', TERMS)
@pytest.mark.parametrize('side', [4, 18])
def test_content_that_fills_its_map_has_no_padding(name, side):
    batch = torch.randn(2, 3, 4, side, side + 1, dtype=torch.float64)
    extents = torch.tensor([[side, side + 1.0]]).expand(3, 2)
    assert_close(
        value_and_gradient(TERMS[name], batch, extents=extents),
        value_and_gradient(TERMS[name], batch),
        rtol=1e-6,
        atol=1e-8,
    )


def test_content_is_rounded_up_and_stays_on_the_map():
    extents = torch.tensor([[0.0, 2.2], [3.0001, 3.01], [7.9, 99]])
    height, width = content_sides(extents, torch.zeros(3, 1, 6, 9))
    assert height.tolist() == [1, 3, 6]
    assert width.tolist() == [3, 4, 9]


@pytest.mark.parametrize('name', TERMS)
def test_extents_of_another_shape_are_refused(name):
    maps = torch.randn(2, 3, 4, 4)
    with pytest.raises(ValueError, match=r'\(2, 2\), .* got \(2,\)'):
        TERMS[name](maps, maps, extents=torch.tensor([3, 4]))


@pytest.mark.parametrize('name', TERMS)
def test_no_maps_have_no_extents(name):
    maps = torch.zeros(0, 3, 4, 4, requires_grad=True)
    value = TERMS[name](maps, maps, extents=torch.zeros(0, 2))
    assert value.shape == (0,)
    value.sum().backward()
