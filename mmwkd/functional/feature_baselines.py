"""Rivals of WKD-F on feature maps.

Shapes: N maps, D channels, (H, W) positions. The teacher is a constant. Where
maps have padding, ``extents`` holds the height and the width of each map's own
content, at its top left, in positions, of shape (N, 2) and on the device of
the maps; fractions are rounded up. The rest takes no part.
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwkd.functional.blocks import in_blocks
from mmwkd.functional.checks import check_feats, check_positive
from mmwkd.functional.extents import blank, content_sides, padding_mask
from mmwkd.functional.precision import with_exact_products
from mmwkd.functional.standardize import standardize_content


@with_exact_products
def fitnet_term(
    student_feats: Tensor,
    teacher_feats: Tensor,
    *,
    extents: Tensor | None = None,
) -> Tensor:
    """Mean squared difference of features (FitNets).

    The mean over channels and positions of each map (Romero et al., ICLR
    2015, take half the sum).

    Args:
        student_feats: Student maps, of shape (N, D, H, W).
        teacher_feats: Teacher maps, of the same shape.
        extents: Height and width of the content of each map, (N, 2).

    Returns:
        Difference of each map, of shape (N,).
    """
    check_feats(student_feats, teacher_feats)
    return in_blocks(
        _squared_gap,
        1,
        student_feats,
        teacher_feats.detach(),
        padding_mask(extents, student_feats),
    ) / _num_entries(student_feats, extents)


@with_exact_products
def pkd_term(
    student_feats: Tensor,
    teacher_feats: Tensor,
    *,
    eps: float = 1e-5,
    extents: Tensor | None = None,
) -> Tensor:
    r"""One minus Pearson's correlation of features (PKD).

    .. math:: \frac{1}{2 D H W} \sum_{d, i} (\hat s_{ndi} - \hat t_{ndi})^2

    for each map n, where a hat stands for features whose every channel was
    brought to mean 0 and variance 1 over all maps and positions (Cao et al.,
    NeurIPS 2022). The mean over maps is :math:`1 - r`, with Pearson's
    correlation r averaged over channels; so maps depend on one another, and
    the scale and the offset of a channel do not matter. The gradient also
    goes through the student's mean and variance.

    Args:
        student_feats: Student maps, of shape (N, D, H, W).
        teacher_feats: Teacher maps, of the same shape.
        eps: Added to the variances, for channels that do not vary.
        extents: Height and width of the content of each map, (N, 2).

    Returns:
        Term of each map, of shape (N,).
    """
    check_feats(student_feats, teacher_feats)
    check_positive(eps=eps)
    return in_blocks(
        functools.partial(_standardized_gap, eps=eps),
        1,
        student_feats,
        teacher_feats.detach(),
        padding_mask(extents, student_feats),
    ) / (2 * _num_entries(student_feats, extents))


@with_exact_products
def cwd_term(
    student_feats: Tensor,
    teacher_feats: Tensor,
    *,
    temperature: float = 1.0,
    extents: Tensor | None = None,
) -> Tensor:
    r"""Divergence between channels as distributions over positions (CWD).

    .. math:: \frac{T^2}{D} \sum_d \mathrm{KL}(
              \mathrm{softmax}_i(t_{di} / T) \,\|\,
              \mathrm{softmax}_i(s_{di} / T))

    for each map, over its positions i (Shu et al., ICCV 2021).

    Args:
        student_feats: Student maps, of shape (N, D, H, W).
        teacher_feats: Teacher maps, of the same shape.
        temperature: Softening T of the distributions.
        extents: Height and width of the content of each map, (N, 2).

    Returns:
        Divergence of each map, of shape (N,).
    """
    check_feats(student_feats, teacher_feats)
    check_positive(temperature=temperature)
    divergence = in_blocks(
        functools.partial(_divergence, temperature=temperature),
        1,
        student_feats,
        teacher_feats.detach(),
        padding_mask(extents, student_feats),
    )
    return temperature**2 / student_feats.shape[1] * divergence


def _num_entries(feats: Tensor, extents: Tensor | None) -> Tensor | int:
    """Features of each map that are content, (N,)."""
    channels, *sides = feats.shape[1:]
    if extents is None:
        return channels * math.prod(sides)
    height, width = content_sides(extents, feats)
    return channels * height * width


def _squared_gap(
    student: Tensor, teacher: Tensor, padding: Tensor | None
) -> Tensor:
    return blank(padding, student - teacher).square().sum(dim=(1, 2, 3))


def _standardized_gap(
    student: Tensor, teacher: Tensor, padding: Tensor | None, eps: float
) -> Tensor:
    return _squared_gap(
        standardize_content(student, eps, padding),
        standardize_content(teacher, eps, padding),
        padding,
    )


def _divergence(
    student: Tensor,
    teacher: Tensor,
    padding: Tensor | None,
    temperature: float,
) -> Tensor:
    log_s, log_t = (
        _log_shares(feats / temperature, padding)
        for feats in (student, teacher)
    )
    divergence = F.kl_div(log_s, log_t, reduction='none', log_target=True)
    return divergence.sum(dim=(1, 2))


def _log_shares(feats: Tensor, padding: Tensor | None) -> Tensor:
    """Log-softmax over positions, (N, D, H * W); 0 in the padding."""
    if padding is None:
        return F.log_softmax(feats.flatten(2), dim=2)
    outside = padding.flatten(2)  # (N, 1, H * W)
    shares = feats.flatten(2).masked_fill(outside, -torch.inf)
    # equal on both sides, a 0 adds nothing to a divergence
    return F.log_softmax(shares, dim=2).masked_fill(outside, 0)
