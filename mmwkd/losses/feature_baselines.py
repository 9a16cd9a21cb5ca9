"""The rivals of WKD-F as registered losses, on the same maps."""

from typing import Any

from mmdet.registry import MODELS

from mmwkd.functional import (
    cwd_term,
    fitnet_term,
    pkd_term,
)
from mmwkd.functional.checks import check_positive
from mmwkd.losses.base import FeatureLoss


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
