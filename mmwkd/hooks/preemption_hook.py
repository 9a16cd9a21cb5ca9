"""End a run that a cluster stops, so that it can go on."""

import atexit
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from mmdet.registry import HOOKS
from mmengine.dist import barrier, get_world_size
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import distributed
from torch.utils.data import DataLoader

from mmwkd.hooks.safe_checkpoint_hook import SafeCheckpointHook


@HOOKS.register_module()
class PreemptionHook(Hook):
    """Save a checkpoint and end the run when the cluster sends a signal.

    The signal may come at any time and to any of the ranks. At the end of an
    iteration the ranks agree; ``preempted.pth`` is then written as
    ``SafeCheckpointHook``, which is needed, writes, and every rank exits
    with ``exit_code``. With ``--resume`` the run goes on from that iteration.

    Args:
        signals: Names of the signals.
        exit_code: Code of the process; by default 75, "temporary failure",
            which no error ends with.
    """

    priority = 'LOWEST'  # averages and schedules have made their step
    plain_hook: ClassVar[str | None] = None

    def __init__(
        self,
        *,
        signals: Sequence[str] = ('SIGTERM', 'SIGUSR1'),
        exit_code: int = os.EX_TEMPFAIL,
    ) -> None:
        unknown = [name for name in signals if not hasattr(signal, name)]
        if isinstance(signals, str) or unknown:
            raise ValueError(
                'signals must be a list of names such as SIGTERM, got '
                f'{signals!r}'
            )
        self.signals = [signal.Signals[name] for name in signals]
        self.exit_code = exit_code
        self._came = False
        self._before: dict[signal.Signals, Any] = {}
        self._group: Any = None  # whose numbers never see a GPU
        self._num_val_iters = 0

    def before_train(self, runner: Runner) -> None:
        """Listen."""
        self._checkpoint_hook(runner)
        if get_world_size() > 1:
            self._group = distributed.new_group(backend='gloo')
        loops = [runner.train_loop]
        if runner.val_loop is not None:
            loops.append(runner.val_loop)
        for loop in loops:
            _shield_workers(loop.dataloader, self.signals)
        self._before = {
            number: signal.signal(number, self._note)
            for number in self.signals
        }

    def _note(self, number: int, frame: Any) -> None:
        self._came = True
        # where it has ended a worker of a data loader all the same, torch
        # would raise an error in the middle of the step
        handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._before.setdefault(signal.SIGCHLD, handler)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, *args: Any, **kwargs: Any
    ) -> None:
        """Stop here, unless a validation or an epoch's end comes first."""
        if self._must_stop() and not _ends_a_stretch(runner):
            self._stop(runner, iteration=runner.iter + 1, validating=False)

    def before_val_epoch(self, runner: Runner) -> None:
        """Ranks may have one batch more than others."""
        self._num_val_iters = self._agreed(
            len(runner.val_dataloader), distributed.ReduceOp.MIN
        )

    def after_val_iter(
        self, runner: Runner, batch_idx: int, *args: Any, **kwargs: Any
    ) -> None:
        """Stop within a validation, which is then repeated."""
        if batch_idx < self._num_val_iters and self._must_stop():
            for hook in runner.hooks:
                if isinstance(hook, EMAHook):  # it lent its averages
                    hook.after_val_epoch(runner)
            self._stop(runner, iteration=runner.iter, validating=True)

    def after_train(self, runner: Runner) -> None:
        """Listen no longer."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
        if self._group is not None:
            distributed.destroy_process_group(self._group)
            self._group = None

    def _must_stop(self) -> bool:
        """Whether a signal came to any rank."""
        return bool(self._agreed(self._came, distributed.ReduceOp.MAX))

    def _agreed(self, number: int, how: Any) -> int:
        """Smallest or largest number of all ranks."""
        if self._group is None:
            return number
        shared = torch.tensor(int(number))
        distributed.all_reduce(shared, how, self._group)
        return int(shared)

    def _stop(
        self, runner: Runner, *, iteration: int, validating: bool
    ) -> None:
        path = self._checkpoint_hook(runner).save_preempted(
            runner, iteration=iteration, validating=validating
        )
        runner.logger.info(
            f'mmwkd: stopped by a signal at iteration {iteration}; {path} is '
            f'written, --resume goes on (exit code {self.exit_code})'
        )
        barrier()  # nobody ends before the file is written
        self.after_train(runner)
        raise SystemExit(self.exit_code)

    def _checkpoint_hook(self, runner: Runner) -> SafeCheckpointHook:
        for hook in runner.hooks:
            if isinstance(hook, SafeCheckpointHook):
                return hook
        raise ValueError(
            'PreemptionHook saves with SafeCheckpointHook, which the run does '
            "not have: set default_hooks.checkpoint.type='SafeCheckpointHook'"
        )


def _shield_workers(
    loader: DataLoader, signals: Sequence[signal.Signals]
) -> None:
    """Keep a data loader's workers at work when all processes get a signal.

    Only from an exit of this process on does a SIGTERM end them again, as
    multiprocessing has it.
    """
    context = loader.multiprocessing_context or multiprocessing
    leaving = context.Event()
    atexit.register(leaving.set)
    loader.worker_init_fn = partial(
        _init_worker, loader.worker_init_fn, leaving, signals
    )


def _init_worker(
    init: Callable[[int], None] | None,
    leaving: Any,
    signals: Sequence[signal.Signals],
    worker_id: int,
) -> None:
    def obey(number: int, frame: Any) -> None:
        if leaving.is_set():
            os._exit(0)

    for number in signals:
        signal.signal(number, obey)
    if init is not None:
        init(worker_id)


def _ends_a_stretch(runner: Runner) -> bool:
    """Whether more than the next iteration follows the present one."""
    loop, done = runner.train_loop, runner.iter + 1
    if isinstance(loop, EpochBasedTrainLoop):
        return done % len(loop.dataloader) == 0
    return done == loop.max_iters or done % loop.val_interval == 0
