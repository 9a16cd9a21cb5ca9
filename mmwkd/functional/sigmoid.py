"""Independent sigmoids of a dense head as one distribution over categories.

Shapes: R locations, C foreground categories, K = C + 1 with background last.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwkd.functional.checks import check_floating_point
from mmwkd.functional.precision import full_precision


def append_background(logits: Tensor) -> Tensor:
    r"""Add the logit that background has beside independent sigmoids.

    C independent yes-or-no decisions with logits z give every subset of
    categories a probability. Given that at most one category is present, as
    for one box,

    .. math:: P(c) = \frac{e^{z_c}}{1 + \sum_j e^{z_j}}, \qquad
              P(\text{background}) = \frac{1}{1 + \sum_j e^{z_j}}

    which is the softmax of z with a 0 appended. Between c and background
    alone it is the sigmoid again; where all scores are small, P(c) is the
    score itself to first order.

    Args:
        logits: Logits z of the sigmoids, of shape (..., C).

    Returns:
        Logits of the categories, of shape (..., K).
    """
    return F.pad(logits, (0, 1))


@full_precision
def joint_logit(first: Tensor, second: Tensor) -> Tensor:
    r"""Logit of a product of two sigmoids, such as class and objectness.

    .. math:: z = -\log(e^{-a} + e^{-b} + e^{-a-b})

    so that :math:`\sigma(z) = \sigma(a) \sigma(b)`; finite for every finite
    a and b, which may broadcast.
    """
    check_floating_point(first=first, second=second)
    either = torch.logaddexp(-first, -second)
    return -torch.logaddexp(either, -first - second)
