"""Training runs in processes of their own, which are killed on purpose."""

import multiprocessing
import os
import resource
import signal
import sys
from pathlib import Path

import mmwkd  # noqa: F401  so that the fork server knows it

_CHECKPOINTS = ('open', 'os.rename', 'os.remove', 'os.chmod')
"""Audited events by which a checkpoint comes, changes or goes."""

_context = multiprocessing.get_context('forkserver')
_context.set_forkserver_preload([__name__, 'mmdet.models', 'mmdet.evaluation'])


def train_in_process(config, *, kill_at=None, limit=None, on_limit=None):
    """Train; the exit code and what the process reported.

    Args:
        config: Config of the run, as a dict.
        kill_at: Number of the event on a file of a checkpoint before which
            the process is killed, from 0.
        limit: Largest size of a file in bytes; a write beyond it stops in
            the middle.
        on_limit: 'kill' by the kernel, or 'error' as on a full disk.

    Returns:
        Exit code, events seen, message of the exception.
    """
    receiver, sender = _context.Pipe(duplex=False)
    process = _context.Process(
        target=_train, args=(config, kill_at, limit, on_limit, sender)
    )
    process.start()
    sender.close()
    try:
        events, message = receiver.recv()
    except EOFError:  # killed
        events, message = None, None
    process.join()
    return process.exitcode, events, message


def _train(config, kill_at, limit, on_limit, sender):
    import torch
    from mmdet.utils import register_all_modules
    from mmengine.config import Config
    from mmengine.runner import Runner

    torch.set_num_threads(1)
    register_all_modules()
    events = []
    sys.addaudithook(
        lambda event, args: _note(events, kill_at, config, event, args)
    )
    if limit is not None:
        kernel_kills = on_limit == 'kill'
        signal.signal(
            signal.SIGXFSZ, signal.SIG_DFL if kernel_kills else signal.SIG_IGN
        )
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    message = None
    try:
        Runner.from_cfg(Config(config)).train()
    except Exception as error:  # what the user would read last
        message = f'{type(error).__name__}: {error}'
    sender.send((events, message))


def _note(events, kill_at, config, event, args):
    if event not in _CHECKPOINTS or not isinstance(args[0], str):
        return
    path = Path(args[0])
    if not path.is_relative_to(config['work_dir']) or not (
        '.pth' in path.name or path.name == 'last_checkpoint'
    ):
        return
    if event == 'open' and not args[2] & (os.O_WRONLY | os.O_RDWR):
        return
    if len(events) == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    events.append(f'{event} {path.name}')
