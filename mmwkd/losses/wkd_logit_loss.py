"""WKD-L as a registered loss."""

import os
from collections.abc import Sequence
from typing import Any

from mmdet.registry import MODELS
from torch import Tensor

from mmwkd.costs import CostMatrix
from mmwkd.functional import (
    add_unrelated,
    classifier_interrelation,
    interrelation_to_cost,
    target_term,
    transport_term,
)
from mmwkd.functional.checks import (
    check_at_least,
    check_not_negative,
    check_positive,
)
from mmwkd.losses.base import LogitLoss

# largest cost / reg at which Sinkhorn's gradients are those of the transport:
# beyond, the kernel exp(-cost / reg) sinks below the guard of 1e-8 of the
# reference formulation
_MAX_EXPONENT = 20


@MODELS.register_module()
class WKDLogitLoss(LogitLoss):
    r"""Wasserstein distance between class distributions (WKD-L).

    .. math:: L = L_t + \gamma D

    with the target term :math:`L_t` of
    :func:`mmwkd.functional.target_term` and the transport cost D of
    :func:`mmwkd.functional.transport_term` over the non-target categories.
    Without target separation the loss is :math:`\gamma D` over all
    categories. Source: Lv et al., NeurIPS 2024, arXiv 2412.08139.

    The ground cost is set by :meth:`bind`, which the distiller calls once
    the teacher is loaded.

    Args:
        cost: 'classifier' to take the interrelation from the cosine of the
            teacher's classifier weights, or the path of a
            :class:`mmwkd.costs.CostMatrix` file.
        separate_target: Whether to treat the target category apart.
        temperature: Softening of both distributions in D.
        gamma: Weight of D against the target term.
        kappa: Sharpness of the cost ``1 - exp(-kappa (1 - IR))``.
        reg: Entropic regularisation of the transport, in the unit of cost;
            at least a twentieth of the largest cost.
        num_iters: Number of Sinkhorn iterations. With too few for a small
            ``reg``, D and its gradient vanish before the student agrees with
            its teacher: the paper's code has 0.05 and 10, and less than a
            twentieth of D where logits differ by half a unit at temperature
            2.
        **kwargs: Options of every loss on logits.
    """

    method = 'wkd'
    ground_cost: Tensor | None

    def __init__(
        self,
        *,
        cost: str | os.PathLike[str] = 'classifier',
        separate_target: bool = True,
        temperature: float = 2.0,
        gamma: float = 2.5,
        kappa: float = 2.0,
        reg: float = 0.1,
        num_iters: int = 20,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_positive(temperature=temperature, kappa=kappa, reg=reg)
        check_not_negative(gamma=gamma)
        check_at_least(1, num_iters=num_iters)
        if not isinstance(cost, str | os.PathLike):
            raise ValueError(
                "cost must be 'classifier' or the path of a cost matrix, got "
                f'{cost!r}'
            )
        self.cost = cost
        self.separate_target = separate_target
        self.temperature = temperature
        self.gamma = gamma
        self.kappa = kappa
        self.reg = reg
        self.num_iters = num_iters
        self.cost_matrix: CostMatrix | None = None
        self.register_buffer('ground_cost', None, persistent=False)

    def bind(
        self,
        classifier_weight: Tensor | None,
        num_categories: int,
        classes: Sequence[str] | None = None,
    ) -> None:
        """Set the ground cost for a teacher; arguments are the base's."""
        if self.cost == 'classifier':
            if classifier_weight is None:
                raise ValueError(
                    "cost='classifier' needs a teacher whose classifier is "
                    'linear; pass the path of a CostMatrix file instead'
                )
            interrelation = classifier_interrelation(classifier_weight)
            if len(interrelation) == num_categories - 1:
                # sigmoids have no row for the background
                interrelation = add_unrelated(interrelation)
            ground_cost = interrelation_to_cost(interrelation, self.kappa)
        else:
            matrix = CostMatrix.load(self.cost)
            if classes is not None:
                matrix.check_categories(classes)
            self.cost_matrix = matrix
            ground_cost = matrix.cost(self.kappa)
        if ground_cost.shape[0] != num_categories:
            raise ValueError(
                f'the cost from {self.cost!r} has {ground_cost.shape[0]} '
                f'categories, the detectors have {num_categories}, '
                'background included'
            )
        largest = ground_cost.max().item()
        smallest_reg = largest / _MAX_EXPONENT
        if not self.reg >= smallest_reg:
            raise ValueError(
                f'reg {self.reg} is too small for costs up to {largest:.3g}: '
                'transport between distant categories would vanish; use at '
                f'least {smallest_reg:.3g}'
            )
        self.ground_cost = ground_cost

    def check_classes(self, classes: Sequence[str]) -> None:
        """Refuse a dataset of other classes than the cost matrix file."""
        if self.cost_matrix is not None:
            self.cost_matrix.check_categories(classes)

    @property
    def term_names(self) -> tuple[str, ...]:
        """Names of the summands that :meth:`terms` returns."""
        return (
            ('transport', 'target') if self.separate_target else ('transport',)
        )

    def terms(
        self, student_logits: Tensor, teacher_logits: Tensor, target: Tensor
    ) -> dict[str, Tensor]:
        """Target and transport term of each RoI, both of shape (R,)."""
        if self.ground_cost is None:
            raise ValueError(
                'WKDLogitLoss has no ground cost yet: call bind() with the '
                "teacher's classifier first (DetectorDistiller does)"
            )
        transport = transport_term(
            student_logits,
            teacher_logits,
            self.ground_cost,
            target if self.separate_target else None,
            temperature=self.temperature,
            reg=self.reg,
            num_iters=self.num_iters,
        )
        terms = {'transport': self.gamma * transport}
        if self.separate_target:
            terms['target'] = target_term(
                student_logits, teacher_logits, target
            )
        return terms
