"""Schedule the weights of distillation losses over training."""

import logging
from typing import Any, ClassVar

from mmdet.datasets.samplers import MultiSourceSampler
from mmdet.registry import HOOKS
from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from mmwkd.functional.checks import check_not_negative
from mmwkd.hooks.distiller import distiller_of


@HOOKS.register_module()
class DistillationWeightHook(Hook):
    """Set the factor of distillation losses before every iteration.

    The factor is a function of the iteration alone, so a resumed run
    continues where it stopped; it is logged as ``distillation_weight``.

    Args:
        warmup: Length of the linear warm-up from 0 to 1.
        stop: When distillation ends and the teacher is no longer run.
        by_epoch: Whether the unit is epochs (fractions count), or
            iterations.
    """

    plain_hook: ClassVar[str | None] = None

    def __init__(
        self,
        *,
        warmup: float = 0,
        stop: float | None = None,
        by_epoch: bool = True,
    ) -> None:
        check_not_negative(warmup=warmup, stop=0 if stop is None else stop)
        self.warmup = warmup
        self.stop = stop
        self.by_epoch = by_epoch

    def before_train(self, runner: Runner) -> None:
        """Refuse a model that cannot be scheduled."""
        distiller_of(runner, self).set_distillation_weight(1.0)
        if sum(isinstance(each, type(self)) for each in runner.hooks) > 1:
            raise ValueError(
                'the run has several hooks of type DistillationWeightHook, of '
                'which the last would win: give one of them warmup and stop'
            )
        # not an error: trying a long schedule for a few iterations is fine
        end = runner.max_iters / self._unit(runner)
        unit = 'epochs' if self.by_epoch else 'iterations'
        messages = [
            f'{name} ({value:g}) lies beyond the end of training ({end:g} '
            f'{unit})'
            for name, value in (('warmup', self.warmup), ('stop', self.stop))
            if value is not None and value > end
        ]
        if self.stop is not None and self.stop <= self.warmup:
            messages.append(
                f'distillation stops at {self.stop:g} {unit}, and never has '
                'its full weight'
            )
        for message in messages:
            print_log(f'mmwkd: {message}', 'current', level=logging.WARNING)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Set the factor of the coming iteration."""
        time = runner.iter / self._unit(runner)
        factor = min(time / self.warmup, 1.0) if self.warmup else 1.0
        if self.stop is not None and time >= self.stop:
            factor = 0.0
        distiller_of(runner, self).set_distillation_weight(factor)
        runner.message_hub.update_scalar('train/distillation_weight', factor)

    def _unit(self, runner: Runner) -> int:
        """Iterations per unit of time."""
        if not self.by_epoch:
            return 1
        loader = runner.train_dataloader
        if isinstance(loader.sampler, (InfiniteSampler, MultiSourceSampler)):
            # its length is that of the whole dataset, not of a rank's share
            return max(len(loader) // get_world_size(), 1)
        return len(loader)
