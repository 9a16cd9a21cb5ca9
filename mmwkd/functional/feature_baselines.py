"""Rivals of WKD-F on feature maps.

Shapes: N maps, D channels, (H, W) positions. The teacher is a constant. Where
maps have padding, ``extents`` holds the height and the width of each map's own
content, at its top left, in positions, of shape (N, 2) and on the device of
the maps; fractions are rounded up. The rest takes no part.
"""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwkd.functional.blocks import for_each_map, sum_over_channels
from mmwkd.functional.checks import check_at_least, check_feats, check_positive
from mmwkd.functional.extents import content_sides, padding_mask
from mmwkd.functional.precision import matrix_product, with_exact_products
from mmwkd.functional.sinkhorn import sinkhorn_plan

# Cosine costs reach 2; in float32 the kernel exp(-cost / reg) and its scalings
# need cost / reg to stay well below 80.
MIN_EMD_REG = 0.05
# what a map is divided by at least to get its direction
_MIN_LENGTH = 1e-5


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

    Raises:
        ValueError: If shapes disagree.
    """
    check_feats(student_feats, teacher_feats)
    return sum_over_channels(
        _squared_gap,
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

    Raises:
        ValueError: If shapes disagree or ``eps`` is not positive.
    """
    check_feats(student_feats, teacher_feats)
    check_positive(eps=eps)
    return sum_over_channels(
        functools.partial(_standardized_gap, eps=eps),
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

    Raises:
        ValueError: If shapes disagree or the temperature is not positive.
    """
    check_feats(student_feats, teacher_feats)
    check_positive(temperature=temperature)
    divergence = sum_over_channels(
        functools.partial(_divergence, temperature=temperature),
        student_feats,
        teacher_feats.detach(),
        padding_mask(extents, student_feats),
    )
    return temperature**2 / student_feats.shape[1] * divergence


@with_exact_products
def ickd_term(
    student_feats: Tensor,
    teacher_feats: Tensor,
    *,
    eps: float = 1e-5,
    extents: Tensor | None = None,
) -> Tensor:
    r"""Difference of inter-channel correlations (ICKD-C).

    .. math:: \frac{1}{D} \sum_d \Big\| \frac{g^S_d}{\|g^S_d\|}
              - \frac{g^T_d}{\|g^T_d\|} \Big\|^2

    for each map, where :math:`g_d` is row d of :math:`G = F F^\top`, the
    inner products between channels (Liu et al., ICCV 2021). Second moments
    are compared entry by entry, where WKD-F takes means and covariances with
    the geometry of Gaussians.

    Args:
        student_feats: Student maps, of shape (N, D, H, W).
        teacher_feats: Teacher maps, of the same shape.
        eps: Smallest length that rows are divided by, for channels that are
            0 everywhere.
        extents: Height and width of the content of each map, (N, 2).

    Returns:
        Difference of each map, of shape (N,).

    Raises:
        ValueError: If shapes disagree or ``eps`` is not positive.
    """
    check_feats(student_feats, teacher_feats)
    check_positive(eps=eps)
    channels, *sides = student_feats.shape[1:]
    return for_each_map(
        functools.partial(_correlation_gap, eps=eps),
        max(1, channels / math.prod(sides)),  # correlations may be larger
        student_feats,
        teacher_feats.detach(),
        padding_mask(extents, student_feats),
    )


@with_exact_products
def emd_term(
    student_feats: Tensor,
    teacher_feats: Tensor,
    *,
    reg: float = 0.1,
    num_iters: int = 10,
    extents: Tensor | None = None,
) -> Tensor:
    r"""Transport between the set of student maps and that of teacher maps.

    .. math:: \min_P \langle P, c \rangle - \epsilon H(P)
              \quad \text{s.t.} \quad P 1 = 1 / N, \; P^\top 1 = 1 / N,
              \quad c_{mn} = 1 - \cos(s_m, t_n)

    and :math:`N \sum_n P_{mn} c_{mn}` is returned for every student map m;
    its mean is the transport cost :math:`\langle P, c \rangle` (Lohit and
    Jones, WACV 2022). A map is one vector of all its features. The order of
    the teacher's maps does not matter: the loss does not know which two
    maps belong together.

    The gradient goes through the cost alone, with the plan as a constant:
    by the envelope theorem it is that of the minimum above, entropy
    included, up to the convergence of the iterations.

    Args:
        student_feats: Student maps, of shape (N, D, H, W).
        teacher_feats: Teacher maps, of the same shape.
        reg: Entropic regularisation epsilon, at least 0.05.
        num_iters: Number of Sinkhorn iterations.
        extents: Height and width of the content of each map, (N, 2).

    Returns:
        Transport cost of each student map, of shape (N,).

    Raises:
        ValueError: If shapes disagree or an option is out of range.
    """
    check_feats(student_feats, teacher_feats)
    check_at_least(MIN_EMD_REG, reg=reg)
    products = sum_over_channels(
        _inner_products,
        student_feats,
        teacher_feats.detach(),
        padding_mask(extents, student_feats),
    )  # (N, N + 2)
    # a map of zeros has no direction; the minimum keeps its gradient finite
    lengths = products[:, -2:].clamp(min=_MIN_LENGTH**2).sqrt()  # (N, 2)
    cosine = products[:, :-2] / lengths[:, :1] / lengths[:, 1]  # (N, N)
    cost = 1 - cosine
    plan = sinkhorn_plan(cost, reg=reg, num_iters=num_iters)
    return len(cost) * (plan * cost).sum(dim=1)


def _num_entries(feats: Tensor, extents: Tensor | None) -> Tensor | int:
    """Features of each map that are content, (N,)."""
    channels, *sides = feats.shape[1:]
    if extents is None:
        return channels * math.prod(sides)
    height, width = content_sides(extents, feats)
    return channels * height * width


def _blank(padding: Tensor | None, *maps: Tensor) -> list[Tensor]:
    """Maps that are 0 in their padding."""
    if padding is None:
        return list(maps)
    return [feats.masked_fill(padding, 0) for feats in maps]


def _squared_gap(
    student: Tensor, teacher: Tensor, padding: Tensor | None
) -> Tensor:
    student, teacher = _blank(padding, student, teacher)
    return (student - teacher).square().sum(dim=(1, 2, 3))


def _standardized_gap(
    student: Tensor, teacher: Tensor, padding: Tensor | None, eps: float
) -> Tensor:
    return _squared_gap(
        _standardize(student, eps, padding),
        _standardize(teacher, eps, padding),
        padding,
    )


def _standardize(feats: Tensor, eps: float, padding: Tensor | None) -> Tensor:
    axes = (0, 2, 3)
    if padding is None:
        centred = feats - feats.mean(dim=axes, keepdim=True)
        variance = centred.square().mean(dim=axes, keepdim=True)
        return centred * (variance + eps).rsqrt()
    area = (~padding).sum()
    (feats,) = _blank(padding, feats)
    mean = feats.sum(dim=axes, keepdim=True) / area
    (centred,) = _blank(padding, feats - mean)
    variance = centred.square().sum(dim=axes, keepdim=True) / area
    return centred * (variance + eps).rsqrt()


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


def _correlation_gap(
    student: Tensor, teacher: Tensor, padding: Tensor | None, eps: float
) -> Tensor:
    student, teacher = (
        _channel_correlation(feats, eps)  # (N, D, D)
        for feats in _blank(padding, student, teacher)
    )
    return (student - teacher).square().sum(dim=2).mean(dim=1)


def _channel_correlation(feats: Tensor, eps: float) -> Tensor:
    channels = feats.flatten(2)  # (N, D, H * W)
    return F.normalize(matrix_product(channels, channels.mT), dim=2, eps=eps)


def _inner_products(
    student: Tensor, teacher: Tensor, padding: Tensor | None
) -> Tensor:
    """Of all pairs of maps, and of students and teachers with themselves.

    Returns:
        The products side by side, of shape (N, N + 2).
    """
    student, teacher = (
        feats.flatten(1) for feats in _blank(padding, student, teacher)
    )
    squares = [each.square().sum(dim=1) for each in (student, teacher)]
    pairs = matrix_product(student, teacher.T)  # (N, N)
    return torch.cat([pairs, torch.stack(squares, dim=1)], dim=1)
