"""The rivals of WKD-L as registered losses, on the same logits."""

from typing import Any

from mmdet.registry import MODELS
from torch import Tensor

from mmwkd.functional import binary_kd_term, dkd_terms, kd_term
from mmwkd.functional.checks import check_not_negative, check_positive
from mmwkd.losses.base import LogitLoss


@MODELS.register_module()
class KDLoss(LogitLoss):
    """Knowledge distillation: :func:`mmwkd.functional.kd_term`.

    Source: Hinton et al., NIPS workshop 2014, arXiv 1503.02531.

    Args:
        temperature: Softening of both distributions.
        **kwargs: Options of every loss on logits.
    """

    method = 'kd'
    term_names = ('kl',)
    term = staticmethod(kd_term)

    def __init__(self, *, temperature: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_positive(temperature=temperature)
        self.temperature = temperature

    def terms(
        self, student_logits: Tensor, teacher_logits: Tensor, target: Tensor
    ) -> dict[str, Tensor]:
        """Divergence of each RoI, of shape (R,); no target is needed."""
        kl = self.term(
            student_logits, teacher_logits, temperature=self.temperature
        )
        return {'kl': kl}


@MODELS.register_module()
class DKDLoss(LogitLoss):
    r"""Decoupled distillation: :func:`mmwkd.functional.dkd_terms`.

    .. math:: L = \alpha \, \mathrm{TCKD} + \beta \, \mathrm{NCKD}

    Source: Zhao et al., CVPR 2022, arXiv 2203.08679. The defaults are the
    authors' for detection.

    Args:
        alpha: Weight of the divergence between target and not.
        beta: Weight of the divergence among the other categories.
        temperature: Softening of all distributions.
        **kwargs: Options of every loss on logits.
    """

    method = 'dkd'
    term_names = ('target', 'nontarget')

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        beta: float = 0.25,
        temperature: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_positive(temperature=temperature)
        check_not_negative(alpha=alpha, beta=beta)
        self.alpha = alpha
        self.beta = beta
        self.temperature = temperature

    def terms(
        self, student_logits: Tensor, teacher_logits: Tensor, target: Tensor
    ) -> dict[str, Tensor]:
        """TCKD and NCKD of each RoI, weighted, both of shape (R,)."""
        tckd, nckd = dkd_terms(
            student_logits,
            teacher_logits,
            target,
            temperature=self.temperature,
        )
        return {'target': self.alpha * tckd, 'nontarget': self.beta * nckd}


@MODELS.register_module()
class BinaryKDLoss(KDLoss):
    """Category by category: :func:`mmwkd.functional.binary_kd_term`.

    What distillation of dense heads commonly does with their sigmoids; the
    options are those of :class:`KDLoss`.
    """

    method = 'bkd'
    term = staticmethod(binary_kd_term)
