"""A signal that comes in the middle of a training step."""

import os
import signal

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper


@HOOKS.register_module()
class SignalInStep(Hook):
    """Send a signal while the backbone runs.

    Args:
        name: Name of the signal.
        at: Iteration of training, or batch of a validation.
        mode: 'train' or 'val'.
        rank: Rank that gets the signal.
    """

    def __init__(self, name='SIGUSR1', at=0, mode='train', rank=0):
        self.number = signal.Signals[name]
        self.at, self.mode, self.rank = at, mode, rank

    def _send_within(self, runner, mode, count):
        if (mode, count, runner.rank) != (self.mode, self.at, self.rank):
            return
        model = runner.model
        if is_model_wrapper(model):
            model = model.module

        def send(*args):
            handle.remove()
            os.kill(os.getpid(), self.number)

        handle = model.student.backbone.layer2.register_forward_hook(send)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self._send_within(runner, 'train', runner.iter)

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        self._send_within(runner, 'val', batch_idx)
