"""What the distillation losses share: terms, weights and the reduction."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

from mmdet.models.losses.utils import weight_reduce_loss
from torch import Tensor, nn

from mmwkd.functional.checks import check_not_negative

Reduction = Literal['none', 'mean', 'sum']
REDUCTIONS = ('none', 'mean', 'sum')


class DistillationLoss(nn.Module):
    """Base of losses between a student's and a teacher's tensors.

    A subclass, by way of :class:`LogitLoss` or :class:`FeatureLoss`, names
    its ``method`` and ``term_names`` and implements :meth:`terms`. One
    element is one RoI (logits) or one map (features); the reduction is that
    of mmdet's losses, except that the mean over nothing is 0, not NaN.

    Args:
        loss_weight: Factor of the whole loss.
        reduction: 'none', 'mean' or 'sum' over elements.
        background_weight: Weight of RoIs whose label is background, in
            [0, 1]; 0 leaves the sampled negatives out.
    """

    method: ClassVar[str]
    """Short name of the method, part of the keys of the loss dict."""

    compares: ClassVar[str]
    """What :meth:`terms` is called on: 'logits', 'features' or 'boxes'."""

    @property
    def term_names(self) -> tuple[str, ...]:
        """Names of the summands that :meth:`terms` returns."""
        raise NotImplementedError

    def __init__(
        self,
        *,
        loss_weight: float = 1.0,
        reduction: Reduction = 'mean',
        background_weight: float = 1.0,
    ) -> None:
        super().__init__()
        check_not_negative(loss_weight=loss_weight)
        if reduction not in REDUCTIONS:
            raise ValueError(
                f'reduction must be one of {REDUCTIONS}, got {reduction!r}'
            )
        if not 0 <= background_weight <= 1:
            raise ValueError(
                'background_weight must lie in [0, 1], got '
                f'{background_weight}'
            )
        self.loss_weight = loss_weight
        self.reduction = reduction
        self.background_weight = background_weight

    @classmethod
    def options(cls) -> tuple[str, ...]:
        """Names of the options that a config may set.

        Follows ``**kwargs`` of a subclass to the base that receives them.
        """
        names: list[str] = []
        for owner in cls.__mro__:
            if '__init__' not in vars(owner):
                continue
            parameters = inspect.signature(owner).parameters.values()
            passed_on = [p for p in parameters if p.kind is p.VAR_KEYWORD]
            names += [p.name for p in parameters if p not in passed_on]
            if not passed_on:
                break
        return tuple(names)

    @classmethod
    def defaults_of(cls, entry: str) -> dict[str, Any]:
        """Defaults of a distiller's entry, such as 'neck_loss'."""
        return {}

    def terms(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Summands of the loss by name, each of one value per element.

        Options such as gamma are applied; ``loss_weight`` is not.
        """
        raise NotImplementedError

    def bind(
        self,
        classifier_weight: Tensor | None,
        num_categories: int,
        classes: Sequence[str] | None = None,
    ) -> None:
        """Take what a loss on logits needs of a teacher; nothing by default.

        Args:
            classifier_weight: Rows of the teacher's classifier, of shape
                (K, D), or (K - 1, D) without one for the background; None
                if the teacher has no linear classifier.
            num_categories: K, background included.
            classes: The teacher's foreground classes in order; None if
                unknown.
        """

    def check_classes(self, classes: Sequence[str]) -> None:
        """Refuse a dataset, by its classes in order, that it cannot serve."""

    def reduce(
        self,
        term: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: Reduction | None = None,
    ) -> Tensor:
        """Weight and reduce one term as mmdet's losses do."""
        if reduction_override not in (None, *REDUCTIONS):
            raise ValueError(
                f'reduction_override must be None or one of '
                f'{REDUCTIONS}, got {reduction_override!r}'
            )
        reduction = reduction_override or self.reduction
        if term.numel() == 0 and reduction == 'mean':
            return term.sum()
        return self.loss_weight * weight_reduce_loss(
            term, weight, reduction, avg_factor
        )

    def roi_weights(
        self, labels: Tensor, label_weights: Tensor, background: int
    ) -> Tensor:
        """Weights (R,) of RoIs, by their labels (R,).

        They are those of the head's own classification loss, for the
        background times ``background_weight``.
        """
        if self.background_weight == 1:
            return label_weights
        return label_weights.where(
            labels != background, label_weights * self.background_weight
        )

    def _reduced_sum(self, terms: dict[str, Tensor], *how: Any) -> Tensor:
        return sum(
            (self.reduce(term, *how) for term in terms.values()),
            start=next(iter(terms.values())).new_zeros(()),
        )

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: Reduction | None = None,
        **options: Any,
    ) -> Tensor:
        """Compute the loss, of shape (), or (N,) for the reduction 'none'.

        Args:
            student: What is compared of the student, N elements.
            teacher: The teacher's, of the same shape.
            weight: Weight of each element, of shape (N,).
            avg_factor: Divisor of the mean; the number of elements if None.
            reduction_override: Reduction to use instead of the configured.
            **options: Further arguments of :meth:`terms`, such as
                ``extents`` of feature maps.
        """
        terms = self.terms(student, teacher, **options)
        return self._reduced_sum(terms, weight, avg_factor, reduction_override)

    def extra_repr(self) -> str:
        """Options, for ``print(model)``."""
        return ', '.join(
            f'{name}={getattr(self, name)!r}'
            for name in self.options()
            if hasattr(self, name)
        )


class LogitLoss(DistillationLoss):
    """Base of losses on the class logits of RoIs.

    Args:
        **kwargs: Options of every loss, see :class:`DistillationLoss`.
    """

    compares = 'logits'

    def forward(  # type: ignore[override]
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: Reduction | None = None,
    ) -> Tensor:
        """Compute the loss of logits (R, K), as the base class does.

        ``target`` is the label of each RoI, background is K - 1, (R,).
        """
        terms = self.terms(student_logits, teacher_logits, target)
        return self._reduced_sum(terms, weight, avg_factor, reduction_override)


class FeatureLoss(DistillationLoss):
    """Base of losses on feature maps.

    Args:
        levels: Levels of the student's neck to distil; None for all that
            the teacher has too. For ``neck_loss`` alone.
        **kwargs: Options of every loss, see :class:`DistillationLoss`;
            ``background_weight`` is for ``roi_loss`` alone.
    """

    compares = 'features'

    term: ClassVar[Callable[..., Tensor]]
    """Function of maps, ``extents`` and ``term_options``, where there is one
    term alone."""

    term_options: ClassVar[tuple[str, ...]] = ()
    """Attributes that the function takes."""

    def __init__(
        self, *, levels: Sequence[int] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(levels, Sequence | None):
            raise ValueError(f'levels must be a list of numbers, got {levels}')
        if levels is not None and len(set(levels)) != len(levels):
            raise ValueError(f'levels must be unique, got {list(levels)}')
        self.levels = None if levels is None else tuple(levels)

    def terms(
        self,
        student_feats: Tensor,
        teacher_feats: Tensor,
        extents: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Summands of the loss by name, each of shape (N,).

        Args:
            student_feats: Maps of the student, adapted to the teacher's
                channels, of shape (N, D, H, W).
            teacher_feats: Maps of the teacher, of the same shape.
            extents: Height and width of each map's own content, in
                positions, of shape (N, 2): the rest is padding and takes no
                part. None if maps are content alone.
        """
        (name,) = self.term_names
        options = {each: getattr(self, each) for each in self.term_options}
        term = self.term(
            student_feats, teacher_feats, extents=extents, **options
        )
        return {name: term}
