"""Features in units of their channels' own spread."""

import torch
from torch.testing import assert_close

from mmwkd.functional import gaussian_wasserstein, pkd_term, standardize
from mmwkd.losses import WKDFeatureLoss


def maps(seed, *shape, **options):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, **options)


def test_every_channel_has_mean_0_and_variance_1():
    feats = 3 * maps(0, 2, 5, 4, 6) + 7
    standard = standardize(feats, eps=1e-12)
    assert_close(standard.mean(dim=(0, 2, 3)), torch.zeros(5))
    assert_close(standard.var(dim=(0, 2, 3), correction=0), torch.ones(5))


def test_padding_takes_no_part():
    feats = maps(0, 2, 5, 4, 6)
    wider = torch.full((2, 5, 7, 8), torch.nan)
    wider[..., :4, :6] = feats
    extents = torch.tensor([[4.0, 6]] * 2)
    standard = standardize(wider, extents=extents)
    assert_close(standard[..., :4, :6], standardize(feats))
    assert (standard[..., 4:, :] == 0).all()


def test_the_gradient_goes_through_mean_and_variance():
    feats = maps(0, 2, 3, 2, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(standardize, feats)


def test_half_precision_is_standardized_in_float32():
    feats = 1000 + maps(0, 2, 3, 8, 8)
    standard = standardize(feats.half())
    assert standard.dtype == torch.float32
    assert_close(standard, standardize(feats.half().float()))


def test_with_a_cell_for_each_position_wkd_f_is_pkd():
    student, teacher = maps(0, 3, 5, 4, 4), maps(1, 3, 5, 4, 4)
    mean, cov = gaussian_wasserstein(
        standardize(student), standardize(teacher), grid=4
    )
    assert_close(mean, 2 * 5 * pkd_term(student, teacher))
    assert_close(cov, torch.zeros(3))


def test_scale_and_offset_of_a_students_channel_do_not_matter():
    student, teacher = maps(0, 3, 5, 8, 8), maps(1, 3, 5, 8, 8)
    scale, offset = maps(2, 5, 1, 1).exp(), 10 * maps(3, 5, 1, 1)
    loss = WKDFeatureLoss(grid=2, standardize=True, eps=1e-12)
    assert_close(
        loss.terms(scale * student + offset, teacher),
        loss.terms(student, teacher),
        atol=1e-4,
        rtol=1e-4,
    )
    assert loss.terms(scale * teacher, teacher)['mean'].max() < 1e-6


def test_fpn_maps_are_standardized_by_default_and_roi_maps_are_not():
    assert WKDFeatureLoss.defaults_of('neck_loss')['standardize']
    assert not WKDFeatureLoss(
        **WKDFeatureLoss.defaults_of('roi_loss')
    ).standardize


def test_blocks_of_channels_change_nothing(monkeypatch):
    student, teacher = maps(0, 3, 5, 8, 8), maps(1, 3, 5, 8, 8)
    extents = torch.tensor([[8.0, 8], [4, 6], [5, 3]])
    results = []
    for entries in (2**25, 2 * 3 * 64):  # of two channels
        monkeypatch.setattr('mmwkd.functional.blocks._ENTRIES', entries)
        student = student.detach().requires_grad_()
        terms = WKDFeatureLoss(grid=2, standardize=True).terms(
            student, teacher, extents
        )
        (terms['mean'] + 3 * terms['cov']).sum().backward()
        results.append((terms, student.grad))
    assert_close(*results)
