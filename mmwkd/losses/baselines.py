"""The rivals of WKD as registered losses, on the same tensors."""

from typing import Any

from mmdet.registry import MODELS
from torch import Tensor

from mmwkd.functional import (
    cwd_term,
    dkd_terms,
    fitnet_term,
    kd_term,
    pkd_term,
    smooth_l1_term,
)
from mmwkd.functional.checks import check_not_negative, check_positive
from mmwkd.losses.base import DistillationLoss, FeatureLoss, LogitLoss


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

    def __init__(self, *, temperature: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_positive(temperature=temperature)
        self.temperature = temperature

    def terms(
        self, student_logits: Tensor, teacher_logits: Tensor, target: Tensor
    ) -> dict[str, Tensor]:
        """Divergence of each RoI, of shape (R,); no target is needed."""
        kl = kd_term(
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
class FitNetLoss(FeatureLoss):
    """Mean squared error: :func:`mmwkd.functional.fitnet_term`.

    Source: Romero et al., ICLR 2015, arXiv 1412.6550.

    Args:
        **kwargs: Options of every loss on features.
    """

    method = 'fitnet'
    term_names = ('mse',)
    term = staticmethod(fitnet_term)


@MODELS.register_module()
class PKDLoss(FeatureLoss):
    """One minus Pearson's correlation: :func:`mmwkd.functional.pkd_term`.

    Source: Cao et al., NeurIPS 2022, arXiv 2207.02039.

    Args:
        eps: Added to the variances of channels.
        **kwargs: Options of every loss on features.
    """

    method = 'pkd'
    term_names = ('pearson',)
    term = staticmethod(pkd_term)
    term_options = ('eps',)

    def __init__(self, *, eps: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_positive(eps=eps)
        self.eps = eps


@MODELS.register_module()
class CWDLoss(FeatureLoss):
    """Channel-wise divergence: :func:`mmwkd.functional.cwd_term`.

    Source: Shu et al., ICCV 2021, arXiv 2011.13256.

    Args:
        temperature: Softening of the distributions over positions.
        **kwargs: Options of every loss on features.
    """

    method = 'cwd'
    term_names = ('kl',)
    term = staticmethod(cwd_term)
    term_options = ('temperature',)

    def __init__(self, *, temperature: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_positive(temperature=temperature)
        self.temperature = temperature


@MODELS.register_module()
class BoxDistillationLoss(DistillationLoss):
    """Pull the student's boxes to the teacher's.

    One element is one RoI, or one prediction of a teacher that shares none
    with its student, see :func:`mmwkd.functional.smooth_l1_term`. Of RoIs, the
    distiller expresses the teacher's boxes in the student's coding, so the
    coders may differ, and either head may be class-agnostic. It averages over
    all sampled RoIs, as the head's own box loss does.

    Args:
        beta: Difference at which the loss turns from quadratic to linear, in
            units of the student's box deltas.
        **kwargs: Options of every loss, see :class:`DistillationLoss`.
    """

    method = 'l1'
    compares = 'boxes'
    term_names = ('delta',)

    def __init__(self, *, beta: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_positive(beta=beta)
        self.beta = beta

    def terms(
        self, student_deltas: Tensor, teacher_deltas: Tensor
    ) -> dict[str, Tensor]:
        """Distance of each RoI's deltas (R, 4), of shape (R,)."""
        return {
            'delta': smooth_l1_term(
                student_deltas, teacher_deltas, beta=self.beta
            )
        }
