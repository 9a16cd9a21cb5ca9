"""Rivals of WKD-F on feature maps.

Shapes: N maps, D channels, (H, W) positions. The teacher is a constant.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mmwkd.functional.checks import check_at_least, check_feats, check_positive
from mmwkd.functional.precision import full_precision
from mmwkd.functional.sinkhorn import sinkhorn_plan

# Cosine costs reach 2; in float32 the kernel exp(-cost / reg) and its scalings
# need cost / reg to stay well below 80.
MIN_EMD_REG = 0.05


@full_precision
def fitnet_term(student_feats: Tensor, teacher_feats: Tensor) -> Tensor:
    """Mean squared difference of features (FitNets).

    The mean over channels and positions of each map (Romero et al., ICLR
    2015, take half the sum).

    Args:
        student_feats: Student maps, of shape (N, D, H, W).
        teacher_feats: Teacher maps, of the same shape.

    Returns:
        Difference of each map, of shape (N,).

    Raises:
        ValueError: If shapes disagree.
    """
    check_feats(student_feats, teacher_feats)
    teacher_feats = teacher_feats.detach().to(student_feats)
    return (student_feats - teacher_feats).square().mean(dim=(1, 2, 3))


@full_precision
def pkd_term(
    student_feats: Tensor, teacher_feats: Tensor, *, eps: float = 1e-5
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

    Returns:
        Term of each map, of shape (N,).

    Raises:
        ValueError: If shapes disagree or ``eps`` is not positive.
    """
    check_feats(student_feats, teacher_feats)
    check_positive(eps=eps)
    teacher_feats = teacher_feats.detach().to(student_feats)
    student, teacher = (
        _standardize(feats, eps) for feats in (student_feats, teacher_feats)
    )
    return (student - teacher).square().mean(dim=(1, 2, 3)) / 2


@full_precision
def cwd_term(
    student_feats: Tensor,
    teacher_feats: Tensor,
    *,
    temperature: float = 1.0,
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

    Returns:
        Divergence of each map, of shape (N,).

    Raises:
        ValueError: If shapes disagree or the temperature is not positive.
    """
    check_feats(student_feats, teacher_feats)
    check_positive(temperature=temperature)
    teacher_feats = teacher_feats.detach().to(student_feats)
    log_s, log_t = (
        F.log_softmax(feats.flatten(2) / temperature, dim=2)  # (N, D, H * W)
        for feats in (student_feats, teacher_feats)
    )
    divergence = F.kl_div(log_s, log_t, reduction='none', log_target=True)
    return temperature**2 * divergence.sum(dim=2).mean(dim=1)


@full_precision
def ickd_term(
    student_feats: Tensor, teacher_feats: Tensor, *, eps: float = 1e-5
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

    Returns:
        Difference of each map, of shape (N,).

    Raises:
        ValueError: If shapes disagree or ``eps`` is not positive.
    """
    check_feats(student_feats, teacher_feats)
    check_positive(eps=eps)
    teacher_feats = teacher_feats.detach().to(student_feats)
    student, teacher = (
        _channel_correlation(feats, eps)  # (N, D, D)
        for feats in (student_feats, teacher_feats)
    )
    return (student - teacher).square().sum(dim=2).mean(dim=1)


@full_precision
def emd_term(
    student_feats: Tensor,
    teacher_feats: Tensor,
    *,
    reg: float = 0.1,
    num_iters: int = 10,
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

    Returns:
        Transport cost of each student map, of shape (N,).

    Raises:
        ValueError: If shapes disagree or an option is out of range.
    """
    check_feats(student_feats, teacher_feats)
    check_at_least(MIN_EMD_REG, reg=reg)
    teacher_feats = teacher_feats.detach().to(student_feats)
    # a map of zeros has no direction; eps keeps its gradient finite
    student, teacher = (
        F.normalize(feats.flatten(1), dim=1, eps=1e-5)
        for feats in (student_feats, teacher_feats)
    )
    cost = 1 - student @ teacher.T  # (N, N)
    plan = sinkhorn_plan(cost, reg=reg, num_iters=num_iters)
    return len(cost) * (plan * cost).sum(dim=1)


def _standardize(feats: Tensor, eps: float) -> Tensor:
    axes = (0, 2, 3)
    centered = feats - feats.mean(dim=axes, keepdim=True)
    variance = centered.square().mean(dim=axes, keepdim=True)
    return centered * (variance + eps).rsqrt()


def _channel_correlation(feats: Tensor, eps: float) -> Tensor:
    channels = feats.flatten(2)  # (N, D, H * W)
    return F.normalize(channels @ channels.mT, dim=2, eps=eps)
