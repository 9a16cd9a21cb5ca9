"""Compare the maps of the necks, level by level.

Shapes: N images, L levels, D channels, (H, W) positions of a level.
"""

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import NamedTuple

from torch import Tensor

from mmwkd.distillers.adapters import AdapterConfig, build_adapter
from mmwkd.distillers.alignment import DetectorPair, check_same_size
from mmwkd.distillers.places.base import Place, Step, Terms
from mmwkd.losses import DistillationLoss


class LevelPair(NamedTuple):
    """A level of the student's neck and the teacher's at the same stride."""

    student: int
    teacher: int
    stride: int  # in input pixels


class NeckPlace(Place):
    """Maps of the necks, of levels with the same stride.

    Args:
        neck_adapter: How student channels become teacher channels, see
            :func:`mmwkd.distillers.adapters.build_adapter`.
    """

    entry = 'neck'
    compares = 'features'
    title = 'neck_loss'
    share = 1.5

    def __init__(
        self,
        loss: DistillationLoss,
        pair: DetectorPair,
        *,
        neck_adapter: AdapterConfig = 'auto',
    ) -> None:
        super().__init__(loss, pair)
        check_same_size(pair, self.title)
        # a loss of one's own need not
        self._knows_padding = 'extents' in signature(loss.terms).parameters
        student, teacher = pair.student_probe, pair.teacher_probe
        self.levels = pair_levels(
            student.strides, teacher.strides, getattr(loss, 'levels', None)
        )
        for index, level in enumerate(self.levels):
            self.adapters[f'neck_{index}'] = build_adapter(
                'neck_adapter',
                student.channels[level.student],
                teacher.channels[level.teacher],
                neck_adapter,
            )

    def compare(self, step: Step) -> list[Terms]:
        """One part for each pair of levels."""
        return [
            self._compare_level(
                f'neck_{index}',
                step.student.neck_feats[level.student],
                step.teacher.neck_feats[level.teacher],
                self._extents(step.image_sizes, level.stride),
            )
            for index, level in enumerate(self.levels)
        ]

    def _extents(
        self, image_sizes: Tensor | None, stride: int
    ) -> dict[str, Tensor]:
        """Which positions of a level's maps are image, for the loss."""
        if image_sizes is None or not self._knows_padding:
            return {}
        return {'extents': image_sizes / stride}

    def _compare_level(
        self,
        adapter: str,
        student_feats: Tensor,
        teacher_feats: Tensor,
        extents: Mapping[str, Tensor],
    ) -> Terms:
        # size divisors may pad differently; both pad at the right and bottom
        height, width = (
            min(sides)
            for sides in zip(
                student_feats.shape[-2:], teacher_feats.shape[-2:], strict=True
            )
        )
        adapted = self.adapters[adapter](student_feats)
        terms = self.loss.terms(
            adapted[..., :height, :width],
            teacher_feats[..., :height, :width],
            **extents,
        )
        return {name: self.loss.reduce(term) for name, term in terms.items()}


def pair_levels(
    student_strides: Sequence[int],
    teacher_strides: Sequence[int],
    levels: Sequence[int] | None,
) -> tuple[LevelPair, ...]:
    """Pair levels of the student's neck with the teacher's of their stride.

    Without ``levels`` all are paired that both have.
    """
    strides = (
        f'student strides {list(student_strides)}, teacher strides '
        f'{list(teacher_strides)}'
    )
    if levels is None:
        levels = [
            level
            for level, stride in enumerate(student_strides)
            if stride in teacher_strides
        ]
    if not levels:
        raise ValueError(
            'neck_loss has no level to compare; leave out its levels to '
            f'compare all that the necks have in common: {strides}'
        )
    pairs = []
    own_strides = dict(enumerate(student_strides))
    for level in levels:
        if own_strides.get(level) not in teacher_strides:
            raise ValueError(
                f'neck_loss asks for level {level}, which the necks do not '
                f'have in common: {strides}'
            )
        stride = own_strides[level]
        pairs.append(LevelPair(level, teacher_strides.index(stride), stride))
    return tuple(pairs)
