"""Notice a teacher that knows no more of the labels than chance.

Shapes: R RoIs, K categories, background included and last.
"""

import logging
import math

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor

from mmwkd.distillers.late import LateValues

# fraction of log K from which on a teacher is near chance
_NEAR = 0.9


class ChanceCheck:
    """Warn once, after the first batches, if the teacher merely guesses.

    Judged is the mean cross-entropy of the teacher's logits on the labels
    of foreground RoIs. Guessing among all categories has log K; a trained
    teacher is far below it, one that was not loaded, or that sees other
    pixels or other classes, near or above. Sums stay on the device until
    they have come to the host: nobody waits for them.
    """

    def __init__(self, num_batches: int = 10) -> None:
        self.num_batches = num_batches
        self._num_seen = 0
        self._sums: Tensor | float = 0.0  # (2,), cross-entropy and RoIs
        self._late: LateValues | None = None  # the sums, when complete

    @torch.no_grad()
    def __call__(self, logits: Tensor, labels: Tensor) -> None:
        """Take in logits (R, K) and labels (R,) of one batch."""
        if self._num_seen < self.num_batches:
            self._num_seen += 1
            self._take_in(logits, labels)
        if self._late is not None and self._late.ready():
            sums, self._late = self._late, None
            self._judge(*sums.tolist())

    def _take_in(self, logits: Tensor, labels: Tensor) -> None:
        num_categories = logits.shape[1]
        foreground = labels < num_categories - 1
        entropy = F.cross_entropy(logits.float(), labels, reduction='none')
        # where, not indexing, which would make the host wait
        judged = torch.where(foreground, entropy, 0)
        counted = foreground.to(judged.dtype)
        self._sums = self._sums + torch.stack([judged, counted]).sum(dim=1)
        if self._num_seen == self.num_batches:
            self._num_categories = num_categories
            self._late = LateValues(self._sums)

    def _judge(self, total: float, num_rois: float) -> None:
        mean = total / max(num_rois, 1)
        num_categories = self._num_categories
        chance = math.log(num_categories)
        if mean < _NEAR * chance:
            return
        print_log(
            'mmwkd: the teacher seems untrained for this data: its mean '
            'cross-entropy on the labels of foreground RoIs is '
            f'{mean:.2f} over the first {self.num_batches} batches, and '
            f'guessing among {num_categories} categories has {chance:.2f}; '
            'check teacher.checkpoint, the order of its classes, and the '
            'normalisation in its data_preprocessor',
            'current',
            level=logging.WARNING,
        )
