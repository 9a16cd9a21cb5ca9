"""WKD-F as a registered loss."""

import functools
from typing import Any

import torch
from mmdet.registry import MODELS
from torch import Tensor

from mmwkd.functional import gaussian_wasserstein, standardize
from mmwkd.functional.blocks import in_blocks
from mmwkd.functional.checks import (
    check_at_least,
    check_feats,
    check_not_negative,
    check_positive,
)
from mmwkd.functional.gaussian import COVARIANCES, Covariance
from mmwkd.losses.base import FeatureLoss


@MODELS.register_module()
class WKDFeatureLoss(FeatureLoss):
    r"""Wasserstein distance between Gaussians of features (WKD-F).

    .. math:: L = r \, \|\mu_S - \mu_T\|^2 + \mathrm{cov\,term}

    of :func:`mmwkd.functional.gaussian_wasserstein`, for each map (an image
    of one FPN level, or the RoIAlign map of one RoI). Source: Lv et al.,
    NeurIPS 2024, arXiv 2412.08139.

    Args:
        ratio: Weight r of the mean term against the covariance term.
        covariance: 'diag' or 'full'.
        grid: Number of cells along each side of a map; in a distiller 8 by
            default on FPN maps and 4 on RoIAlign maps.
        standardize: Whether every channel is first brought to mean 0 and
            variance 1 in the batch, on both sides, see
            :func:`mmwkd.functional.standardize`; in a distiller it is on by
            default on FPN maps. The paper's formula has no such step.
        eps: Added to the variances of 'diag', and of channels.
        **kwargs: Options of every loss on features.
    """

    method = 'wkd'
    term_names = ('mean', 'cov')

    def __init__(
        self,
        *,
        ratio: float = 2.0,
        covariance: Covariance = 'diag',
        grid: int = 1,
        standardize: bool = False,
        eps: float = 1e-5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_not_negative(ratio=ratio)
        if covariance not in COVARIANCES:
            raise ValueError(
                f'covariance must be one of {COVARIANCES}, got {covariance!r}'
            )
        check_at_least(1, grid=grid)
        check_positive(eps=eps)
        self.ratio = ratio
        self.covariance = covariance
        self.grid = grid
        self.standardize = standardize
        self.eps = eps

    @classmethod
    def defaults_of(cls, entry: str) -> dict[str, Any]:
        """Cells of the size of the smallest objects, in a channel's units.

        RoIAlign maps, few and of objects alone, keep those of the teacher.
        """
        if entry == 'neck_loss':
            return {'grid': 8, 'standardize': True}
        return {'grid': 4}

    def terms(
        self,
        student_feats: Tensor,
        teacher_feats: Tensor,
        extents: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Mean and covariance term of each map, both of shape (N,)."""
        distance = functools.partial(self._distance, extents=extents)
        maps = student_feats, teacher_feats.detach()
        if self.standardize and self.covariance == 'diag':
            # sums over channels, which need not all be there at once
            terms = in_blocks(distance, 1, *maps)
        else:
            terms = distance(*maps)
        mean_term, cov_term = terms.unbind(dim=1)
        return {'mean': self.ratio * mean_term, 'cov': cov_term}

    def _distance(
        self, student: Tensor, teacher: Tensor, *, extents: Tensor | None
    ) -> Tensor:
        """Both terms of each map, (N, 2)."""
        if self.standardize:
            check_feats(student, teacher)
            student, teacher = (
                standardize(feats, eps=self.eps, extents=extents)
                for feats in (student, teacher)
            )
        terms = gaussian_wasserstein(
            student,
            teacher,
            grid=self.grid,
            covariance=self.covariance,
            eps=self.eps,
            extents=extents,
        )
        return torch.stack(terms, dim=1)
