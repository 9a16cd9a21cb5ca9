"""Schedule the weights of distillation losses over training."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any, ClassVar

from mmdet.registry import HOOKS
from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from mmwkd.hooks.distiller import distiller_of


def schedule_factor(
    step: float,
    *,
    warmup: float = 0,
    decay_begin: float | None = None,
    decay_end: float | None = None,
    stop: float | None = None,
) -> float:
    r"""Factor of the distillation weights at a point of training.

    Linear from 0 to 1 over ``warmup``; then 1; from ``decay_begin`` on half
    a cosine, :math:`(1 + \cos(\pi x)) / 2`, down to 0 at ``decay_end``; and
    0 from ``stop`` on. All in one unit, iterations or epochs.

    Options are those of :class:`DistillationWeightHook`.

    Returns:
        Factor in [0, 1].
    """
    if stop is not None and step >= stop:
        return 0.0
    factor = min(step / warmup, 1.0) if warmup else 1.0
    if decay_begin is not None and decay_end is not None:
        progress = (step - decay_begin) / (decay_end - decay_begin)
        factor *= (1 + math.cos(math.pi * min(max(progress, 0), 1))) / 2
    return factor


@HOOKS.register_module()
class DistillationWeightHook(Hook):
    """Set the factor of distillation losses before every iteration.

    The factor is a function of the iteration alone, so a resumed run
    continues where it stopped; it is logged as ``distillation_weight``.
    See :func:`schedule_factor` for its shape.

    Args:
        warmup: Length of the linear warm-up.
        decay_begin: Start of the cosine decay to 0; None for no decay.
        decay_end: End of the decay; None for the end of training.
        stop: When distillation ends and the teacher is no longer run.
        by_epoch: Whether the unit is epochs (fractions count), or
            iterations.
        places: Losses to schedule, out of 'logit', 'neck', 'roi' and 'box';
            None for all.
    """

    plain_hook: ClassVar[str | None] = None

    def __init__(
        self,
        *,
        warmup: float = 0,
        decay_begin: float | None = None,
        decay_end: float | None = None,
        stop: float | None = None,
        by_epoch: bool = True,
        places: Sequence[str] | None = None,
    ) -> None:
        times = dict(
            warmup=warmup,
            decay_begin=decay_begin,
            decay_end=decay_end,
            stop=stop,
        )
        for name, value in times.items():
            if value is not None and value < 0:
                raise ValueError(f'{name} must not be negative, got {value}')
        if decay_end is not None and (
            decay_begin is None or decay_end <= decay_begin
        ):
            raise ValueError(
                f'decay_end ({decay_end}) must come after decay_begin '
                f'({decay_begin})'
            )
        self.warmup = warmup
        self.decay_begin = decay_begin
        self.decay_end = decay_end
        self.stop = stop
        self.by_epoch = by_epoch
        self.places = places

    def before_train(self, runner: Runner) -> None:
        """Refuse a model or a schedule that cannot work."""
        distiller_of(runner, self).set_distillation_weight(1.0, self.places)
        if self.decay_begin is not None and (
            self._decay_end(runner) <= self.decay_begin
        ):
            raise ValueError(
                f'decay_begin ({self.decay_begin}) must come before the end '
                f'of training ({self._decay_end(runner):g})'
            )
        # not an error: trying a long schedule for a few iterations is fine
        end = self._end(runner)
        for name in ('warmup', 'stop'):
            value = getattr(self, name)
            if value is not None and value > end:
                print_log(
                    f'mmwkd: {name} ({value:g}) lies beyond the end of '
                    f'training ({end:g} '
                    f'{"epochs" if self.by_epoch else "iterations"})',
                    'current',
                    level=logging.WARNING,
                )

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Set the factor of the coming iteration."""
        factor = schedule_factor(
            runner.iter / self._unit(runner),
            warmup=self.warmup,
            decay_begin=self.decay_begin,
            decay_end=self._decay_end(runner),
            stop=self.stop,
        )
        distiller_of(runner, self).set_distillation_weight(factor, self.places)
        runner.message_hub.update_scalar('train/distillation_weight', factor)

    def _unit(self, runner: Runner) -> int:
        """Iterations per unit of time."""
        if not self.by_epoch:
            return 1
        loader = runner.train_dataloader
        if isinstance(loader.sampler, InfiniteSampler):
            # its length is that of the whole dataset, not of a rank's share
            return max(len(loader) // get_world_size(), 1)
        return len(loader)

    def _decay_end(self, runner: Runner) -> float:
        if self.decay_end is not None:
            return self.decay_end
        return self._end(runner)

    def _end(self, runner: Runner) -> float:
        """Length of the training."""
        return runner.max_iters / self._unit(runner)
