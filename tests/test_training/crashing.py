"""Training runs in processes of their own, to which faults happen."""

import gc
import multiprocessing
import os
import sys

import torch
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings
from torch import distributed

import mmwkd  # noqa: F401  registers the components
import tests.quick_dump.sitecustomize  # noqa: F401
from mmwkd.mmdet_tools import end_process_group
from tests.faults import inject

register_all_modules()
gc.freeze()  # full collections, which mmengine asks for, are quick then

# Processes are forked from one that has imported all this and nothing else:
# no thread pool and no GPU that would not survive it.
_context = multiprocessing.get_context('forkserver')
_context.set_forkserver_preload([__name__, 'tests.test_training.signals'])


def train_in_process(config, **fault):
    """Train; the exit code and what the process reported.

    Args:
        config: Config of the run, as a dict.
        **fault: What happens to the files of its checkpoints, for
            :func:`tests.faults.inject`.

    Returns:
        Exit code; changes of these files; message of the exception. The last
        two are None for a process that was killed.
    """
    receiver, sender = _context.Pipe(duplex=False)
    process = _context.Process(target=_train, args=(config, fault, sender))
    process.start()
    sender.close()
    try:
        events, message = receiver.recv()
    except EOFError:
        events, message = None, None
    process.join()
    return process.exitcode, events, message


def _train(config, fault, sender):
    torch.set_num_threads(1)
    events = inject(config['work_dir'], _is_checkpoint, **fault)
    message = None
    try:
        Runner.from_cfg(Config(config)).train()
    except Exception as error:  # what the user would read last
        message = f'{type(error).__name__}: {error}'
    sender.send((events, message))


def train_in_ranks(config, port, num_ranks=2):
    """Train in processes joined by gloo.

    Returns:
        Of each, the message of its ValueError, or else its exit code.
    """
    config = dict(
        config,
        launcher='pytorch',
        model_wrapper_cfg=dict(
            type='MMDistributedDataParallel', device_ids=None
        ),
    )
    messages = [_context.SimpleQueue() for _ in range(num_ranks)]
    ranks = [
        _context.Process(
            target=_train_rank, args=(config, rank, num_ranks, port, queue)
        )
        for rank, queue in enumerate(messages)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    return [
        process.exitcode if queue.empty() else queue.get()
        for process, queue in zip(ranks, messages, strict=True)
    ]


def _train_rank(config, rank, num_ranks, port, queue):
    torch.set_num_threads(1)
    import_modules_from_strings(config['custom_imports']['imports'])
    os.environ['LOCAL_RANK'] = str(rank)  # mmengine asks for a device
    distributed.init_process_group(
        'gloo',
        init_method=f'tcp://127.0.0.1:{port}',
        rank=rank,
        world_size=num_ranks,
    )
    code = 0
    try:
        Runner.from_cfg(Config(config)).train()
    except SystemExit as end:
        code = end.code
    except ValueError as error:
        queue.put(str(error))
    end_process_group()
    sys.exit(code)


def _is_checkpoint(name):
    return '.pth' in name or name == 'last_checkpoint'
