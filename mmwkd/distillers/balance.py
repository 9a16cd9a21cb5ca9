"""Bring each distillation loss to the scale of the student's own losses.

Shapes: P places.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn
from torch.linalg import vector_norm

from mmwkd.distillers.plain_state import OnCpuInFiles
from mmwkd.functional.checks import check_at_least

_STATE = ('log_student', 'log_terms', 'log_peaks', 'counts')

_EACH = 100  # first iterations, each of which is measured
_MEAN = 10  # measurements that the moving mean is over

# gradients of a mean over many positions, which float16 would round to 0
_SCALE_OF_HALF = 1024.0
_MAX_LOG_FACTOR = math.log(1e4)
_MAX_CHANGE = math.log(10)  # a batch that goes wild is one of ten

# Heads start with small weights, which let next to no gradient through. Once
# they work, a loss changes by several times the fraction by which all maps
# change: by 6 to 18 times in a trained Faster R-CNN, RetinaNet and RTMDet, and
# by 0.5 in the first iteration of a Faster R-CNN.
_ELASTICITY = 4.0


class GradientBalance(nn.Module):
    """One factor for each place, from gradients.

    Losses have units of their own, but what they do to a student can be
    compared where all of them reach it: at the maps of its neck. There, the
    norm of the gradient of the student's own losses is divided by that of
    the place's loss, and multiplied with the place's share. Both are moving
    geometric means, measured in each of the first 100 iterations, then now
    and then. The student's own gradient may fall tenfold when the learning
    rate has warmed up; before, while heads hardly pass on any gradient, it
    counts as that of heads at work beside losses that pass no head. The
    gradient of a loss may grow but not fall after the first 100 iterations,
    for a student that comes near its teacher is to feel less of it. Norms are
    those of the batch of all ranks together; nothing waits for the device.

    Args:
        shares: Of each place, the norm of its gradient as a fraction of that
            of the student's own losses.
        losses: Describes the loss of each place: what was measured for
            others is not taken from a checkpoint.
        interval: Iterations from one measurement to the next; with 0 there
            are no factors.
        features: Places whose gradients pass no head.
    """

    log_student: Tensor
    log_terms: Tensor
    log_peaks: Tensor
    counts: Tensor
    log_shares: Tensor
    features: Tensor

    def __init__(
        self,
        shares: Mapping[str, float],
        losses: Mapping[str, str],
        interval: int,
        features: Collection[str] = (),
    ) -> None:
        super().__init__()
        check_at_least(0, balance_interval=interval)
        self.interval = interval
        self.iteration = 0
        self.frozen = False
        self._places = tuple(shares)
        self._losses = dict(losses)
        log_shares = torch.tensor(list(shares.values())).log()
        for name, value in (
            *((name, torch.zeros(len(shares))) for name in _STATE),
            ('log_shares', log_shares),
            ('features', torch.tensor([name in features for name in shares])),
        ):
            self.register_buffer(name, value, persistent=False)

    def measure(
        self,
        student_losses: Mapping[str, Any],
        distillation: Mapping[str, Mapping[str, Tensor]],
        neck_feats: Sequence[Tensor],
    ) -> None:
        """Take in one iteration, if it is one to measure.

        ``distillation`` has the terms () of each place by their keys; the
        maps of the student's neck are in the graph of all losses.
        """
        if self.frozen or not self.interval:
            return
        iteration, self.iteration = self.iteration, self.iteration + 1
        if iteration >= _EACH and iteration % self.interval:
            return
        own = total(student_losses)
        losses = own, *map(total, distillation.values())
        sums = torch.stack(
            [
                *(squared_gradient(loss, neck_feats) for loss in losses),
                squared_norm(neck_feats),
                own.detach(),
            ]
        )
        all_reduce(sums)
        squares, size, value = sums[:-2], sums[-2], sums[-1]
        at_work = (_ELASTICITY * value) ** 2 / size
        student = torch.where(
            self.features, torch.maximum(squares[0], at_work), squares[0]
        )
        log_student, log_terms = student.log() / 2, squares[1:].log() / 2
        log_ratios = log_student - log_terms
        # no ground truth, no gradient; half precision may overflow; and
        # rounding is all that there is between equal detectors
        log_factors = log_ratios + self.log_shares
        usable = log_ratios.isfinite() & (log_factors < _MAX_LOG_FACTOR)
        self.counts += usable
        weights = 1 / self.counts.clamp(1, _MEAN)
        limits = torch.where(self.counts > _MEAN, _MAX_CHANGE, math.inf)
        for mean, value in (
            (self.log_student, log_student),
            (self.log_terms, log_terms),
        ):
            change = (value - mean).clamp(-limits, limits)
            mean += torch.where(usable, weights * change, 0)
        peaks = self.log_terms
        if iteration >= _EACH:
            peaks = torch.maximum(self.log_peaks, peaks)
        self.log_peaks.copy_(peaks)

    def factors(self) -> dict[str, Tensor]:
        """Factor of each place as measured so far, each of shape ().

        Places that are not to be balanced have none.
        """
        if not self.interval:
            return {}
        factors = (self.log_shares + self.log_student - self.log_peaks).exp()
        # what was not measured keeps its own scale
        factors = torch.where(self.counts > 0, factors, 1)
        return dict(zip(self._places, factors.unbind(), strict=True))

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            'iteration': self.iteration,
            'losses': self._losses,
            'means': OnCpuInFiles(
                (name, getattr(self, name).clone()) for name in _STATE
            ),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on where a checkpoint of the same losses stopped."""
        if state['losses'] != self._losses:
            return
        self.iteration = state['iteration']
        for name in _STATE:
            getattr(self, name).copy_(state['means'][name])


def total(losses: Mapping[str, Any]) -> Tensor:
    """Sum of what mmengine would minimise of a dict of losses."""
    parts = [
        part
        for name, value in losses.items()
        if 'loss' in name
        for part in (value if isinstance(value, (list, tuple)) else [value])
    ]
    return torch.stack([part.float().mean() for part in parts]).sum()


def squared_norm(maps: Sequence[Tensor]) -> Tensor:
    """Squared norm () of all maps together, in float32."""
    norms = [vector_norm(each.detach(), dtype=torch.float32) for each in maps]
    return torch.stack(norms).square().sum()


def squared_gradient(loss: Tensor, maps: Sequence[Tensor]) -> Tensor:
    """Squared norm () of the gradient of a loss () at maps, in float32.

    The graph stays for further use. It is 0 where the loss does not depend on
    the maps.
    """
    maps = [each for each in maps if each.requires_grad]
    if not maps or not loss.requires_grad:
        return loss.new_zeros(()).float()
    scale = 1.0
    if maps[0].dtype in (torch.float16, torch.bfloat16):
        scale = _SCALE_OF_HALF
    try:
        gradients = torch.autograd.grad(
            scale * loss, maps, retain_graph=True, allow_unused=True
        )
    except RuntimeError as error:
        if 'use_reentrant' not in str(error):
            raise
        raise ValueError(
            'losses cannot be balanced through a head whose activations are '
            'recomputed by reentrant checkpoints: recompute backbone and neck '
            'alone, or set balance_interval=0 and a loss_weight of each loss'
        ) from error
    squares = [
        (gradient.float() / scale).square().sum()
        for gradient in gradients
        if gradient is not None
    ]
    return torch.stack(squares).sum() if squares else loss.new_zeros(())
