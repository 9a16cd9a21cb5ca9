"""Training runs in processes of their own, to which faults happen."""

import multiprocessing
import os
import resource
import signal
import sys
from pathlib import Path

import torch
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.runner import Runner

import mmwkd  # noqa: F401  registers the components

register_all_modules()

# Processes are forked from one that has imported all this and nothing else:
# no thread pool and no GPU that would not survive it.
_context = multiprocessing.get_context('forkserver')
_context.set_forkserver_preload([__name__])


def train_in_process(config, *, fault=None, at=0, limit=0):
    """Train; the exit code and what the process reported.

    Args:
        config: Config of the run, as a dict.
        fault: 'kill' before something happens to a file of a checkpoint;
            from then on no file can grow beyond the limit, and a write that
            would is 'cut' in the middle by a kill or ends with an error, as
            on a 'full' disk.
        at: Number of the event on such a file at which the fault is, from 0.
        limit: Size in bytes.

    Returns:
        Exit code; events seen; message of the exception. The last two are
        None for a process that was killed.
    """
    receiver, sender = _context.Pipe(duplex=False)
    process = _context.Process(
        target=_train, args=(config, fault, at, limit, sender)
    )
    process.start()
    sender.close()
    try:
        events, message = receiver.recv()
    except EOFError:
        events, message = None, None
    process.join()
    return process.exitcode, events, message


def _train(config, fault, at, limit, sender):
    torch.set_num_threads(1)
    # formatting the config takes longer than the training
    Config.pretty_text = property(lambda self: repr(self._cfg_dict))
    events = []

    def audit(event, args):
        if _changes_a_checkpoint(event, args, config['work_dir']):
            if fault is not None and len(events) == at:
                _inject(fault, limit)
            events.append(f'{event} {Path(args[0]).name}')

    sys.addaudithook(audit)
    message = None
    try:
        Runner.from_cfg(Config(config)).train()
    except Exception as error:  # what the user would read last
        message = f'{type(error).__name__}: {error}'
    sender.send((events, message))


def _changes_a_checkpoint(event, args, work_dir):
    if event not in ('open', 'os.rename', 'os.remove', 'os.chmod'):
        return False
    if event == 'open' and not args[2] & (os.O_WRONLY | os.O_RDWR):
        return False
    path = Path(os.fsdecode(args[0]) if not isinstance(args[0], int) else '')
    is_checkpoint = '.pth' in path.name or path.name == 'last_checkpoint'
    return is_checkpoint and path.is_relative_to(work_dir)


def _inject(fault, limit):
    if fault == 'kill':
        os.kill(os.getpid(), signal.SIGKILL)
    action = signal.SIG_DFL if fault == 'cut' else signal.SIG_IGN
    signal.signal(signal.SIGXFSZ, action)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
