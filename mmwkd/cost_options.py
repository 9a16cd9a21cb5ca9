"""How a cost matrix is estimated: options of a function and of a command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

EstimatorName = Literal['classifier', 'centroid', 'confusion', 'paired_cka']
FeatureTensor = Literal['fc', 'logits', 'roi']
Split = Literal['train', 'val']


@dataclass(frozen=True, kw_only=True)
class EstimateOptions:
    """How interrelations are estimated from statistics.

    Attributes:
        estimator: Formula; 'classifier' reads no images.
        cap: Samples kept of each category, for 'paired_cka'.
        min_samples: A category with fewer takes its relations from the
            classifier weights.
    """

    estimator: EstimatorName = 'centroid'
    cap: int = 256
    min_samples: int = 5

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _check_choices(self, estimator=EstimatorName)
        _check_at_least(self, cap=2, min_samples=2)


@dataclass(frozen=True, kw_only=True)
class CollectOptions:
    """What is measured, and on which boxes.

    Attributes:
        tensor: 'fc' for the last fully connected features, which the
            classifier reads; 'logits'; or 'roi' for the maps fed to the box
            head, averaged over positions.
        split: Images of the config's 'train' or 'val' dataloader.
        min_size: Smallest side of a ground truth, in pixels of the image
            that the teacher sees.
        negatives: Background boxes of each image.
        max_images: Images used, drawn at random; None for all.
        seed: Seed of all that is drawn.
        batch_size: Images in a batch; only those of equal size share one
            forward pass, so that padding cannot change a result.
        num_workers: Processes that load images.
    """

    tensor: FeatureTensor = 'fc'
    split: Split = 'train'
    min_size: float = 4
    negatives: int = 16
    max_images: int | None = None
    seed: int = 0
    batch_size: int = 8
    num_workers: int = 2

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _check_choices(self, tensor=FeatureTensor, split=Split)
        _check_at_least(
            self, min_size=0, negatives=0, num_workers=0, batch_size=1
        )
        if self.max_images is not None:
            _check_at_least(self, max_images=1)


def _check_choices(options: object, **choices: Any) -> None:
    for name, kind in choices.items():
        value = getattr(options, name)
        if value not in get_args(kind):
            raise ValueError(
                f'{name} must be one of {", ".join(get_args(kind))}, got '
                f'{value!r}'
            )


# functional/checks.py has the same, but loads torch, for which nobody who
# asks for a help text should wait
def _check_at_least(options: object, **minima: float) -> None:
    for name, minimum in minima.items():
        value = getattr(options, name)
        if not value >= minimum:
            raise ValueError(f'{name} must be at least {minimum}, got {value}')
