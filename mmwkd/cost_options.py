"""How a cost matrix is estimated: options of a function and of a command."""

from dataclasses import dataclass
from typing import Literal

EstimatorName = Literal['classifier', 'centroid', 'confusion', 'paired_cka']
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


@dataclass(frozen=True, kw_only=True)
class CollectOptions:
    """What is measured, and on which boxes.

    Attributes:
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

    split: Split = 'train'
    min_size: float = 4
    negatives: int = 16
    max_images: int | None = None
    seed: int = 0
    batch_size: int = 8
    num_workers: int = 2
