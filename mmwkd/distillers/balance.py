"""Bring each distillation loss to the scale of the student's own losses.

Shapes: P places.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

from mmwkd.distillers.plain_state import OnCpuInFiles
from mmwkd.functional.checks import check_not_negative

_SUMS = ('log_ratios', 'counts')

# gradients of a mean over many positions, which float16 would round to 0
_SCALE_OF_HALF = 1024.0
_MAX_LOG_RATIO = math.log(1e4)


class GradientBalance(nn.Module):
    """One factor for each place, from the gradients of the first iterations.

    Losses have units of their own, but what they do to a student can be
    compared where all of them reach it: at the maps of its neck. In each of
    the first iterations, the norm of the gradient of the student's own losses
    is divided by that of the place's loss. The geometric mean of these ratios
    times the place's share is its factor, which stays as it is from then on.
    Norms are those of the batch of all ranks together; nothing waits for the
    device.

    Args:
        shares: Of each place, the norm of its gradient as a fraction of that
            of the student's own losses.
        losses: Describes the loss of each place: what was measured for
            others is not taken from a checkpoint.
        iterations: Iterations to measure in; with 0 all factors are 1.
    """

    log_ratios: Tensor
    counts: Tensor
    log_shares: Tensor

    def __init__(
        self,
        shares: Mapping[str, float],
        losses: Mapping[str, str],
        iterations: int,
    ) -> None:
        super().__init__()
        check_not_negative(balance_iterations=iterations)
        self.iterations = iterations
        self.measured = 0
        self._places = tuple(shares)
        self._losses = dict(losses)
        log_shares = torch.tensor(list(shares.values())).log()
        for name, value in (
            ('log_ratios', torch.zeros(len(shares))),  # summed
            ('counts', torch.zeros(len(shares))),
            ('log_shares', log_shares),
        ):
            self.register_buffer(name, value, persistent=False)

    def measure(
        self,
        student_losses: Mapping[str, Any],
        distillation: Mapping[str, Tensor],
        neck_feats: Sequence[Tensor],
    ) -> None:
        """Take in one iteration, unless enough were.

        Args:
            student_losses: The student's own losses, as it returns them.
            distillation: Loss of each place, of shape ().
            neck_feats: Maps of the student's neck, in the graph of both.
        """
        if self.measured >= self.iterations:
            return
        squares = torch.stack(
            [
                squared_gradient(loss, neck_feats)
                for loss in (total(student_losses), *distillation.values())
            ]
        )
        all_reduce(squares)
        log_ratios = (squares[0] / squares[1:]).log() / 2
        # no ground truth, no gradient; half precision may overflow; and
        # rounding is all that there is between equal detectors
        usable = log_ratios.isfinite() & (log_ratios < _MAX_LOG_RATIO)
        self.log_ratios += torch.where(usable, log_ratios, 0)
        self.counts += usable
        self.measured += 1

    def factors(self) -> dict[str, Tensor]:
        """Factor of each place as measured so far, each of shape ().

        Places that are not to be balanced have none.
        """
        if not self.iterations:
            return {}
        means = self.log_ratios / self.counts.clamp(min=1)
        factors = (means + self.log_shares).exp()
        # what was not measured keeps its own scale
        factors = torch.where(self.counts > 0, factors, 1)
        return dict(zip(self._places, factors.unbind(), strict=True))

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            'measured': self.measured,
            'losses': self._losses,
            'sums': OnCpuInFiles(
                (name, getattr(self, name).clone()) for name in _SUMS
            ),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on where a checkpoint of the same losses stopped.

        Args:
            state: What :meth:`state` returned.
        """
        if state['losses'] != self._losses:
            return
        self.measured = state['measured']
        for name in _SUMS:
            getattr(self, name).copy_(state['sums'][name])


def total(losses: Mapping[str, Any]) -> Tensor:
    """Sum of what mmengine would minimise of a dict of losses."""
    parts = [
        part
        for name, value in losses.items()
        if 'loss' in name
        for part in (value if isinstance(value, (list, tuple)) else [value])
    ]
    return torch.stack([part.float().mean() for part in parts]).sum()


def squared_gradient(loss: Tensor, maps: Sequence[Tensor]) -> Tensor:
    """Squared norm of a loss's gradient with respect to maps, in float32.

    Args:
        loss: Of shape (); its graph stays for further use.
        maps: Maps in its graph.

    Returns:
        Of shape (); 0 where the loss does not depend on the maps.
    """
    maps = [each for each in maps if each.requires_grad]
    if not maps or not loss.requires_grad:
        return loss.new_zeros(()).float()
    scale = 1.0
    if maps[0].dtype in (torch.float16, torch.bfloat16):
        scale = _SCALE_OF_HALF
    gradients = torch.autograd.grad(
        scale * loss, maps, retain_graph=True, allow_unused=True
    )
    squares = [
        (gradient.float() / scale).square().sum()
        for gradient in gradients
        if gradient is not None
    ]
    return torch.stack(squares).sum() if squares else loss.new_zeros(())
