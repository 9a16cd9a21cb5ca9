"""Run the tools that mmdet ships, with mmwkd's components registered."""

import gc
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmdet
import torch
from torch import distributed


def mmdet_tool(name: str) -> Path:
    """Path of a tool, such as 'train.py', that mmdet installs."""
    path = Path(mmdet.__file__).parent / '.mim' / 'tools' / name
    if not path.is_file():
        raise FileNotFoundError(
            f'{path} does not exist: install mmdet with pip, or run '
            f"tools/{name} of mmdet's source tree with the same arguments"
        )
    return path


def run_mmdet_tool(name: str, arguments: Sequence[str] | None = None) -> None:
    """Run a tool of mmdet.

    Configs need ``custom_imports`` for the tool to know mmwkd when it is run
    directly; through here they do not. Launched by torchrun on a machine
    without GPU, processes are joined with gloo, which mmengine does not do.

    Args:
        name: File name, such as 'train.py'.
        arguments: Its command line; None for that of this process.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    if not {'-h', '--help'} & set(words):
        import mmwkd.components  # noqa: F401  registers them
    if (
        distributed.is_torchelastic_launched()
        and not torch.cuda.is_available()
    ):
        distributed.init_process_group('gloo')
    sys.argv[1:] = words
    code: Any = None
    try:
        runpy.run_path(str(mmdet_tool(name)), run_name='__main__')
    except SystemExit as end:
        code = end.code
    # not within the handler: the exception knows the frames of the run
    if distributed.is_available() and distributed.is_initialized():
        end_process_group()
    if code:
        sys.exit(code)


def end_process_group() -> None:
    """End the default process group and its threads.

    A thread of gloo that lives on may abort the process at its end
    ('terminate called without an active exception'). The group ends with the
    last reference to it, and a wrapped model in a reference cycle, as a
    runner's is, keeps one.
    """
    gc.collect()
    distributed.destroy_process_group()
