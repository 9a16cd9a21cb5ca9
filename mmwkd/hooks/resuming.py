"""Go on with a run as if it had not been interrupted.

mmengine restores weights, optimizer and schedules. What is missing is in the
checkpoint of ``SafeCheckpointHook``, under ``PROGRESS``: the states of the
random number generators of every rank, and what tells where in its epoch the
run was.
"""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmwkd.random_state import restore_generators

PROGRESS = 'mmwkd_progress'
"""Entry of a checkpoint."""


def progress(
    runner: Runner, generators: dict[str, Any], *, validating: bool = False
) -> dict[str, Any]:
    """What a checkpoint needs beside mmengine's entries, for all ranks.

    It is the same plain data on every rank; a validation that is under way
    is to be repeated.
    """
    return dict(
        generators=all_gather_object(generators),
        epoch_length=len(runner.train_dataloader),
        validating=validating,
    )


def go_on(runner: Runner, saved: dict[str, Any]) -> None:
    """Continue the images and random numbers of a run that has resumed."""
    loop, generators = runner.train_loop, saved['generators']
    length = len(loop.dataloader)
    if (len(generators), saved['epoch_length']) != (get_world_size(), length):
        runner.logger.log(
            logging.WARNING,
            f'mmwkd: the checkpoint is of {len(generators)} processes with '
            f'{saved["epoch_length"]} iterations in an epoch, here are '
            f'{get_world_size()} with {length}: random numbers are drawn '
            'anew, and an epoch that was begun starts over',
        )
        return
    restore = partial(restore_generators, generators[get_rank()])
    if saved['validating'] and runner.val_loop is not None:
        runner.val_loop.run()
    if not isinstance(loop, EpochBasedTrainLoop):
        loop.dataloader_iterator = _FirstSkips(
            loop.dataloader_iterator, runner.iter, restore
        )
        return
    done = runner.iter - runner.epoch * length
    if done or loop.dataloader.persistent_workers:
        # a data loader lets nobody set this
        vars(loop.dataloader)['batch_sampler'] = _FirstPassIsShort(
            loop.dataloader.batch_sampler, done, restore
        )
    else:
        restore()  # where a new epoch draws the seed of its workers


class _FirstPassIsShort:
    """A batch sampler that leaves out the first batches of its first pass.

    The generators are restored when the first batch is asked for: a data
    loader draws a number when a pass begins.
    """

    def __init__(
        self, batch_sampler: Any, done: int, restore: Callable[[], None]
    ) -> None:
        self.batch_sampler = batch_sampler
        self._done: int | None = done
        self._restore = restore

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self.batch_sampler)
        if self._done is not None:
            batches = islice(batches, self._done, None)
            self._done = None
            self._restore()
        yield from batches

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.batch_sampler, name)


class _FirstSkips:
    """The iterator of a loop by iteration, whose skips draw nothing.

    A loop of older versions asks for batches that are done and drops them;
    newer ones call ``skip_iter``. Behind them the generators are restored.
    """

    def __init__(
        self, batches: Any, done: int, restore: Callable[[], None]
    ) -> None:
        self._batches = batches
        self._left = 0 if hasattr(batches, 'skip_iter') else done
        self._restore: Callable[[], None] | None = restore

    def skip_iter(self, num_iters: int) -> None:
        self._batches.skip_iter(num_iters)

    def __next__(self) -> Any:
        if self._left > 0:
            self._left -= 1
        elif self._restore is not None:
            # of late the data loader's pass begins with its first batch
            getattr(self._batches, '_ensure_iterator', lambda: None)()
            self._restore()
            self._restore = None
        return next(self._batches)
