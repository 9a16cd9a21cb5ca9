"""The rivals of WKD-F as registered losses, on the same maps."""

from __future__ import annotations

from typing import Any

from mmdet.registry import MODELS

from mmwkd.functional import (
    cwd_term,
    emd_term,
    fitnet_term,
    ickd_term,
    pkd_term,
)
from mmwkd.functional.checks import check_at_least, check_positive
from mmwkd.functional.feature_baselines import MIN_EMD_REG
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


@MODELS.register_module()
class ICKDLoss(FeatureLoss):
    """Inter-channel correlation: :func:`mmwkd.functional.ickd_term`.

    Source: Liu et al., ICCV 2021 (ICKD-C).

    Args:
        eps: Smallest length that rows of the correlation are divided by.
        **kwargs: Options of every loss on features.
    """

    method = 'ickd'
    term_names = ('correlation',)
    term = staticmethod(ickd_term)
    term_options = ('eps',)

    def __init__(self, *, eps: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_positive(eps=eps)
        self.eps = eps


@MODELS.register_module()
class EMDLoss(FeatureLoss):
    """Transport between sets of maps: :func:`mmwkd.functional.emd_term`.

    Meant for the RoIAlign maps of a batch: the few images of a batch are no
    distribution. Source: Lohit and Jones, WACV 2022, arXiv 2012.03907.

    Args:
        reg: Entropic regularisation, at least 0.05.
        num_iters: Number of Sinkhorn iterations.
        **kwargs: Options of every loss on features.
    """

    method = 'emd'
    term_names = ('transport',)
    term = staticmethod(emd_term)
    term_options = ('reg', 'num_iters')

    def __init__(
        self, *, reg: float = 0.1, num_iters: int = 10, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_at_least(MIN_EMD_REG, reg=reg)
        check_at_least(1, num_iters=num_iters)
        self.reg = reg
        self.num_iters = num_iters
