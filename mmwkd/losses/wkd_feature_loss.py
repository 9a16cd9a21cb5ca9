"""WKD-F as a registered loss."""

from __future__ import annotations

from collections.abc import Sequence

from mmdet.registry import MODELS
from torch import Tensor

from mmwkd.functional import gaussian_wasserstein
from mmwkd.functional.gaussian import COVARIANCES, Covariance
from mmwkd.losses.base import DistillationLoss, Reduction


@MODELS.register_module()
class WKDFeatureLoss(DistillationLoss):
    r"""Wasserstein distance between Gaussians of features (WKD-F).

    .. math:: L = r \, \|\mu_S - \mu_T\|^2 + \mathrm{cov\,term}

    of :func:`mmwkd.functional.gaussian_wasserstein`, for each map (an image
    of one FPN level, or the RoIAlign map of one RoI). Source: Lv et al.,
    NeurIPS 2024, arXiv 2412.08139.

    Args:
        ratio: Weight r of the mean term against the covariance term.
        covariance: 'diag' or 'full'.
        grid: Number of cells along each side of a map.
        levels: Levels of the student's neck to distil; None for all that
            the teacher has too. For ``neck_loss`` alone.
        eps: Added to the variances of 'diag'.
        background_weight: Weight of RoIs whose label is background. For
            ``roi_loss`` alone.
        loss_weight: Factor of the whole loss.
        reduction: 'none', 'mean' or 'sum' over maps.
    """

    method = 'wkd'
    compares = 'features'
    term_names = ('mean', 'cov')

    def __init__(
        self,
        *,
        ratio: float = 2.0,
        covariance: Covariance = 'diag',
        grid: int = 1,
        levels: Sequence[int] | None = None,
        eps: float = 1e-5,
        background_weight: float = 1.0,
        loss_weight: float = 1.0,
        reduction: Reduction = 'mean',
    ) -> None:
        super().__init__(
            loss_weight=loss_weight,
            reduction=reduction,
            background_weight=background_weight,
        )
        if not ratio >= 0:
            raise ValueError(f'ratio must not be negative, got {ratio}')
        if covariance not in COVARIANCES:
            raise ValueError(
                f'covariance must be one of {COVARIANCES}, got {covariance!r}'
            )
        if grid < 1:
            raise ValueError(f'grid must be at least 1, got {grid}')
        if not eps > 0:
            raise ValueError(f'eps must be positive, got {eps}')
        if levels is not None and len(set(levels)) != len(levels):
            raise ValueError(f'levels must be unique, got {list(levels)}')
        self.ratio = ratio
        self.covariance = covariance
        self.grid = grid
        self.levels = None if levels is None else tuple(levels)
        self.eps = eps

    def terms(
        self, student_feats: Tensor, teacher_feats: Tensor
    ) -> dict[str, Tensor]:
        """Mean and covariance term of each map, both of shape (N,)."""
        mean_term, cov_term = gaussian_wasserstein(
            student_feats,
            teacher_feats,
            grid=self.grid,
            covariance=self.covariance,
            eps=self.eps,
        )
        return {'mean': self.ratio * mean_term, 'cov': cov_term}

    def forward(
        self,
        student_feats: Tensor,
        teacher_feats: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: Reduction | None = None,
    ) -> Tensor:
        """Compute the loss.

        Args:
            student_feats: Maps of the student, adapted to the teacher's
                channels, of shape (N, D, H, W).
            teacher_feats: Maps of the teacher, of the same shape.
            weight: Weight of each map, of shape (N,).
            avg_factor: Divisor of the mean; the number of maps if None.
            reduction_override: Reduction to use instead of the configured.

        Returns:
            Loss of shape (), or (N,) for the reduction 'none'.
        """
        return self._reduced_sum(
            self.terms(student_feats, teacher_feats),
            weight=weight,
            avg_factor=avg_factor,
            reduction_override=reduction_override,
        )

    def extra_repr(self) -> str:
        """Options, for ``print(model)``."""
        return (
            f'ratio={self.ratio}, covariance={self.covariance!r}, '
            f'grid={self.grid}, loss_weight={self.loss_weight}'
        )
