"""What every place shares at which two detectors can be compared.

Shapes: N images, R RoIs, K categories, background included and last.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from operator import or_
from typing import Any, ClassVar, NamedTuple

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from mmwkd.distillers.alignment import DetectorPair, common_classes
from mmwkd.distillers.capture import TrainingPass
from mmwkd.distillers.categories import classifier_rows
from mmwkd.distillers.predictions import Predictions, prediction_head
from mmwkd.distillers.teacher import TeacherPass
from mmwkd.losses import DistillationLoss

Terms = dict[str, Tensor]


@dataclass(frozen=True)
class Needs:
    """What a step computes for a place, beside the maps of both necks."""

    rois: bool = False  # RoIs of the student, RoI maps of both
    roi_logits: bool = False  # the teacher's box head on these RoIs
    dense_scores: bool = False  # class scores of both dense heads
    student_predictions: bool = False  # boxes and scores of the student
    teacher_predictions: bool = False  # and of the teacher

    def __or__(self, other: Needs) -> Needs:
        """What both need."""
        return Needs(*map(or_, astuple(self), astuple(other)))


class Step(NamedTuple):
    """What both detectors made of one batch."""

    student: TrainingPass
    teacher: TeacherPass
    # (N, 2), height and width of each image in pixels of the batch; None if
    # no image has padding
    image_sizes: Tensor | None = None
    # whether the labels of RoIs come from annotations
    labelled: bool = True

    @property
    def num_images(self) -> int:
        """N."""
        return len(self.student.neck_feats[0])

    @property
    def predictions(self) -> tuple[Predictions, Predictions]:
        """Those of student and teacher, for a place that needs both."""
        student, teacher = self.student.predictions, self.teacher.predictions
        assert student is not None
        assert teacher is not None
        return student, teacher


class Place(ABC):
    """A place at which a student is compared with its teacher.

    It is chosen and built once, with the distiller: a constructor refuses
    detectors that cannot be compared there and aligns those that can; then
    each step asks for the losses. A subclass names its ``entry``, says what
    it ``compares`` and ``needs``, and implements :meth:`compare`. Options of
    the distiller that are for the place alone are keyword-only arguments of
    its constructor.

    A place holds no detector, so that a copy of the distiller has none.

    Args:
        loss: Loss to compare with.
        pair: The detectors.
    """

    entry: ClassVar[str]
    """Its loss stands in the distiller's config under ``{entry}_loss``."""

    compares: ClassVar[str]
    """What its loss has to be made for."""

    title: ClassVar[str]
    """What it is called in messages."""

    needs: ClassVar[Needs] = Needs()

    compares_classes: ClassVar[bool] = False
    """Whether teacher and student must have the same classes."""

    labels_rois: ClassVar[bool] = False
    """Whether it compares RoIs with labels, background among them."""

    share: ClassVar[float] = 1.0
    """How strongly it pulls at the student, with a ``loss_weight`` of 1.

    The norm of its gradient with respect to the neck's maps, as a fraction
    of that of the student's own losses. Shares are those of weights that
    were tuned one by one (docs/results.md).
    """

    def __init__(self, loss: DistillationLoss, pair: DetectorPair) -> None:
        self.check(pair)
        if loss.background_weight != 1 and not self.labels_rois:
            raise ValueError(
                f'{self.title} has no RoIs that are labelled as background, '
                'so it cannot take background_weight'
            )
        self.loss = loss
        # modules on the student's side, trained along, by unique names
        self.adapters: dict[str, nn.Module] = {}

    @classmethod  # noqa: B027
    def check(cls, pair: DetectorPair) -> None:
        """Refuse detectors that it is not meant for, with a ValueError."""

    @classmethod
    def suits(cls, pair: DetectorPair) -> bool:
        """Whether this kind of place is meant for detectors like these.

        Of several kinds with one entry, the first that suits is built.
        """
        try:
            cls.check(pair)
        except ValueError:
            return False
        return True

    @classmethod
    def options(cls) -> dict[str, Any]:
        """Options of the distiller that are for it alone, with defaults."""
        parameters = inspect.signature(cls).parameters.values()
        return {
            each.name: each.default
            for each in parameters
            if each.kind is each.KEYWORD_ONLY
        }

    def modules(self, detector: BaseDetector) -> Mapping[str, nn.Module]:
        """Modules whose outputs it compares, by names of its own choice.

        Their one output in a step is found in the ``outputs`` of either pass;
        the teacher runs its backbone and neck, and what :attr:`needs` names.
        """
        return {}

    def rois(self, student: TrainingPass) -> list[Tensor]:
        """Sets of RoIs (R, 5) that the teacher's RoI head is to judge too.

        What it makes of them is ``step.teacher.judged[self.entry]``. With
        several sets, a cascade judges each in a stage of its own.
        """
        return []

    @abstractmethod
    def compare(self, step: Step) -> list[Terms]:
        """Compare what both detectors made of a batch.

        Returns:
            For each part that is compared (a level, a stage of RoIs), the
            reduced terms of the loss, all of them with the same names.
        """

    def losses(self, step: Step) -> Terms:
        """Terms of the loss, averaged over parts, by their keys in a log."""
        parts = self.compare(step)
        if set(parts[0]) != set(self.loss.term_names):
            raise ValueError(
                f'{type(self.loss).__name__} has the terms '
                f'{", ".join(parts[0])}, but its term_names are '
                f'{", ".join(self.loss.term_names)}'
            )
        return {
            self.key(name): torch.stack([part[name] for part in parts]).mean()
            for name in parts[0]
        }

    def silent_losses(self, zero: Tensor) -> Terms:
        """The keys of :meth:`losses`, each with a given zero."""
        return {self.key(name): zero for name in self.loss.term_names}

    def key(self, term: str) -> str:
        """Key of a term in the loss dict and the log."""
        return f'loss_{self.loss.method}_{self.entry}_{term}'


class LogitRows(NamedTuple):
    """Rows of class logits, each of both detectors on the same box."""

    student_logits: Tensor  # (R, K)
    teacher_logits: Tensor  # (R, K), constant
    target: Tensor  # (R,), background is K - 1
    weights: Tensor  # (R,)


class LogitPlace(Place):
    """A place where class logits are compared, row by row of one box."""

    entry = 'logit'
    compares = 'logits'
    compares_classes = True
    share = 0.7

    def __init__(self, loss: DistillationLoss, pair: DetectorPair) -> None:
        super().__init__(loss, pair)
        self.num_classes = common_classes(pair)
        classes = pair.teacher.classes
        if classes is not None and len(classes) != self.num_classes:
            raise ValueError(
                f'the teacher has {self.num_classes} classes, but its class '
                f'list has {len(classes)} names'
            )
        rows = classifier_rows(prediction_head(pair.teacher.detector))
        loss.bind(rows, self.num_classes + 1, classes)

    @abstractmethod
    def rows(self, step: Step) -> LogitRows:
        """What is compared; of several stages of RoIs, in the last."""


class ConfidentLogitPlace(LogitPlace):
    """A place whose rows count as much as the teacher is sure of an object.

    The assignment of labels is the student's own business and differs between
    heads, so a row's target is the object most likely to the teacher, and its
    weight the probability that the teacher gives to any. Rows that are
    background to it teach next to nothing. (With background as the target
    where it is likelier, a teacher with doubts would have its student deny
    what it has found: the target's term grows with the teacher's share, but
    is least where the student's is 1.)
    """

    @abstractmethod
    def logits(self, step: Step) -> tuple[Tensor, Tensor, Tensor | None]:
        """Logits (R, K) of student and teacher, and which rows are of one box.

        The latter are of shape (R,), or None if all are.
        """

    def compare(self, step: Step) -> list[Terms]:
        """One part for all rows together."""
        rows = self.rows(step)
        # ranks see more and less; heads average over all of them as well
        total = reduce_mean(rows.weights.sum())
        return [compare_rows(self.loss, rows, total)]

    def rows(self, step: Step) -> LogitRows:
        """What is compared, with its weights."""
        student_logits, teacher_logits, same_box = self.logits(step)
        target = teacher_logits[:, : self.num_classes].argmax(dim=1)
        weights = object_probability(teacher_logits)
        if same_box is not None:
            weights = weights * same_box
        return LogitRows(student_logits, teacher_logits, target, weights)


def object_probability(logits: Tensor) -> Tensor:
    """Probability (...) of any object, of logits (..., K)."""
    return 1 - logits.float().softmax(dim=-1)[..., -1]


def compare_rows(
    loss: DistillationLoss, rows: LogitRows, total: Tensor
) -> Terms:
    """Weighted means of a loss on logits over rows."""
    terms = loss.terms(rows.student_logits, rows.teacher_logits, rows.target)
    return weighted_means(loss, terms, rows.weights, total)


def weighted_means(
    loss: DistillationLoss, terms: Terms, weights: Tensor, total: Tensor
) -> Terms:
    """Weighted means of terms (R,), over a total of at least 1."""
    total = total.clamp(min=1)
    return {
        name: loss.reduce(term, weights, total) for name, term in terms.items()
    }
