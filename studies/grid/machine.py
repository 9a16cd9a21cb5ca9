"""Facts about the machine and the code, for the record."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch

_PACKAGES = ('torch', 'mmengine', 'mmcv', 'mmdet', 'numpy', 'mmwkd')


@dataclass(frozen=True)
class Machine:
    """Where something ran."""

    cpu: str
    cores: int
    threads: int  # that PyTorch used
    system: str
    versions: dict[str, str]  # of Python and of packages


def describe_machine() -> Machine:
    """Describe this machine and what is installed on it."""
    versions = {'python': platform.python_version()}
    for name in _PACKAGES:
        # Not the distribution's: forks install these under other names.
        versions[name] = import_module(name).__version__
    return Machine(
        cpu=cpu_name(),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        system=f'{platform.system()} {platform.machine()}',
        versions=versions,
    )


def git_commit(repo: Path, ignore: Sequence[Path] = ()) -> str | None:
    """Short hash of a repository's commit, marked '-dirty' if files differ.

    Args:
        repo: Folder in the repository.
        ignore: Files and folders that may differ, such as results.

    Returns:
        The hash, or None where there is no git or no commit.
    """
    root = repo.resolve()
    excluded = [
        f':(exclude){path.resolve().relative_to(root)}'
        for path in ignore
        if path.resolve().is_relative_to(root)
    ]
    try:
        commit = _git(repo, 'describe', '--always', '--abbrev=10')
        # a file that git does not know may be a config that was trained
        changes = _git(repo, 'status', '--porcelain', '--', '.', *excluded)
    except (OSError, subprocess.CalledProcessError):
        return None
    return f'{commit}-dirty' if changes else commit


def _git(repo: Path, *arguments: str) -> str:
    return subprocess.run(
        ['git', *arguments],
        cwd=repo,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def cpu_name() -> str:
    """The name of the processor, as Linux and macOS give it."""
    info = Path('/proc/cpuinfo')
    if info.is_file():
        for line in info.read_text(encoding='utf-8').splitlines():
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()
