"""Rivals of WKD-L on class logits, all of the Kullback-Leibler family.

Shapes: R RoIs, K categories, background included and last. Throughout,
p is the student's distribution at the temperature T and q the teacher's; the
teacher is a constant.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwkd.functional.checks import check_logits, check_positive
from mmwkd.functional.precision import computing_dtype, with_exact_products


@with_exact_products
def kd_term(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float = 1.0,
) -> Tensor:
    r"""Kullback-Leibler divergence between class distributions (KD).

    .. math:: T^2 \, \mathrm{KL}(q \,\|\, p)
              = T^2 \sum_k q_k \log \frac{q_k}{p_k}

    over all K categories (Hinton et al., NIPS workshop 2014).

    Args:
        student_logits: Logits of the student, of shape (R, K).
        teacher_logits: Logits of the teacher, of shape (R, K).
        temperature: Softening T of both distributions.

    Returns:
        Divergence of each RoI, of shape (R,).
    """
    check_logits(student_logits, teacher_logits)
    check_positive(temperature=temperature)
    log_p, log_q = (
        F.log_softmax(_soften(logits, temperature, student_logits), dim=1)
        for logits in (student_logits, teacher_logits.detach())
    )
    return temperature**2 * _kl(log_p, log_q)


@with_exact_products
def dkd_terms(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,
    *,
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor]:
    r"""Divergence on the target, and on the rest: decoupled KD (DKD).

    .. math:: \mathrm{TCKD} = T^2 \, \mathrm{KL}(
              (q_t, 1 - q_t) \,\|\, (p_t, 1 - p_t)), \quad
              \mathrm{NCKD} = T^2 \, \mathrm{KL}(\hat q \,\|\, \hat p)

    where a hat marks the distribution over the K - 1 categories other than
    the target t (Zhao et al., CVPR 2022). :func:`kd_term` is their sum with
    the weights 1 and :math:`1 - q_t`. With K = 2 NCKD is 0.

    Args:
        student_logits: Logits of the student, of shape (R, K).
        teacher_logits: Logits of the teacher, of shape (R, K).
        target: Target category t of each RoI, in [0, K), of shape (R,).
        temperature: Softening T of all distributions.

    Returns:
        TCKD and NCKD of each RoI, each of shape (R,).
    """
    check_logits(student_logits, teacher_logits, target)
    check_positive(temperature=temperature)
    (p_target, p_others), (q_target, q_others) = (
        _decouple(_soften(logits, temperature, student_logits), target)
        for logits in (student_logits, teacher_logits.detach())
    )
    return (
        temperature**2 * _kl(p_target, q_target),
        temperature**2 * _kl(p_others, q_others),
    )


def _soften(logits: Tensor, temperature: float, student: Tensor) -> Tensor:
    """Logits over the temperature, in the student's float32 or better.

    Cast here, a copy of half-precision logits does not outlive its use.
    """
    return logits.to(computing_dtype(student)) / temperature


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(q || p) along the last axis."""
    return F.kl_div(log_p, log_q, reduction='none', log_target=True).sum(-1)


def _decouple(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of target or not, and of the others given not.

    Returns:
        Of shapes (R, 2) and (R, K). At the target the second is 0 instead
        of -inf: equal on both sides, it adds nothing to a divergence.
    """
    index = target[:, None].long()
    is_target = torch.zeros_like(logits, dtype=torch.bool)
    is_target.scatter_(1, index, True)
    others = logits.masked_fill(is_target, -torch.inf)  # (R, K)
    either = torch.cat(
        [logits.gather(1, index), others.logsumexp(dim=1, keepdim=True)], dim=1
    )  # (R, 2)
    log_others = F.log_softmax(others, dim=1).masked_fill(is_target, 0)
    return F.log_softmax(either, dim=1), log_others
