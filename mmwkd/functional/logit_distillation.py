"""Distillation of class logits: WKD-L and its two terms.

Shapes: R RoIs, K categories, background included and last.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwkd.functional.checks import check_logits, check_positive
from mmwkd.functional.precision import computing_dtype, with_exact_products
from mmwkd.functional.sinkhorn import sinkhorn_cost


@with_exact_products
def target_term(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,
) -> Tensor:
    r"""Cross-entropy on the target, weighted by the teacher's confidence.

    .. math:: L_t = -\mathrm{softmax}(z^T)_t \, \log \mathrm{softmax}(z^S)_t

    Both at temperature 1. The teacher is a constant.

    Args:
        student_logits: Logits z^S, of shape (R, K).
        teacher_logits: Logits z^T, of shape (R, K).
        target: Target category of each RoI, in [0, K), of shape (R,).

    Returns:
        Term of each RoI, of shape (R,).
    """
    check_logits(student_logits, teacher_logits, target)
    index = target[:, None].long()
    dtype = computing_dtype(student_logits)
    log_p = F.log_softmax(student_logits, dim=1, dtype=dtype)  # (R, K)
    q = F.softmax(teacher_logits.detach(), dim=1, dtype=dtype)  # (R, K)
    return -(q.gather(1, index) * log_p.gather(1, index)).squeeze(1)


@with_exact_products
def transport_term(
    student_logits: Tensor,
    teacher_logits: Tensor,
    cost: Tensor,
    target: Tensor | None = None,
    *,
    temperature: float = 1.0,
    reg: float = 0.05,
    num_iters: int = 10,
) -> Tensor:
    r"""Discrete Wasserstein distance between class distributions.

    With a target, the distributions are those over the other K - 1
    categories, ``p = softmax(z^S_{k != t} / temperature)`` and likewise q;
    without one they cover all K. The distance is the entropic transport cost
    of :func:`mmwkd.functional.sinkhorn_cost` (Lv et al., NeurIPS 2024).

    The gradient reaches the student through the unrolled iterations; the
    teacher and the cost are constants. A single non-target category (K = 2,
    one class and background) leaves nothing to move: the term is then
    exactly 0, and so is its gradient. Without target separation K = 2 is
    like any other: two distributions over two categories.

    A RoI whose logits are not finite makes its own term NaN and no other.

    Args:
        student_logits: Logits z^S, of shape (R, K).
        teacher_logits: Logits z^T, of shape (R, K).
        cost: Non-negative ground cost between categories, of shape (K, K).
        target: Category of each RoI to leave out, of shape (R,); None for no
            target separation.
        temperature: Softening of both distributions.
        reg: Entropic regularisation, in the unit of ``cost``; accurate while
            ``cost / reg`` stays below about 20.
        num_iters: Number of Sinkhorn iterations.

    Returns:
        Distance of each RoI, of shape (R,).

    Raises:
        ValueError: If shapes disagree or an option is out of range.
    """
    check_logits(student_logits, teacher_logits, target)
    num_categories = student_logits.shape[1]
    if cost.shape != (num_categories, num_categories):
        raise ValueError(
            f'cost must have shape ({num_categories}, {num_categories}) to '
            f'match the logits, got {tuple(cost.shape)}'
        )
    check_positive(temperature=temperature)

    dtype = computing_dtype(student_logits)
    p, q = (
        class_distribution(logits.to(dtype), target, temperature)  # (R, K)
        for logits in (student_logits, teacher_logits.detach())
    )
    if target is not None and num_categories == 2:
        return (0 * p).sum(dim=1)
    return sinkhorn_cost(
        p,
        q,
        cost.to(p),
        excluded=target,
        reg=reg,
        num_iters=num_iters,
    )


def class_distribution(
    logits: Tensor, target: Tensor | None, temperature: float
) -> Tensor:
    """Softened distribution over the categories that WKD-L compares, (R, K).

    It is 0 at the target (R,), which is left out; None for none.
    """
    logits = logits / temperature  # (R, K)
    if target is not None:
        logits = logits.scatter(1, target[:, None].long(), -torch.inf)
    return F.softmax(logits, dim=1)
