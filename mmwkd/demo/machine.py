"""Facts about the machine and the code, for the record."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import import_module
from pathlib import Path

import torch

from mmwkd.demo.results import Machine

_PACKAGES = ('torch', 'mmengine', 'mmcv', 'mmdet', 'numpy', 'mmwkd')


def describe_machine() -> Machine:
    """Describe this machine and what is installed on it."""
    versions = {'python': platform.python_version()}
    for name in _PACKAGES:
        # Not the distribution's: forks install these under other names.
        versions[name] = import_module(name).__version__
    return Machine(
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        system=f'{platform.system()} {platform.machine()}',
        versions=versions,
    )


def git_commit(repo: Path) -> str | None:
    """Short hash of a repository's commit, marked where files differ.

    None where there is no git or no commit.
    """
    try:
        described = subprocess.run(
            ['git', 'describe', '--always', '--dirty', '--abbrev=10'],
            cwd=repo,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()


def _cpu() -> str:
    """The name of the processor, as Linux and macOS tell it."""
    info = Path('/proc/cpuinfo')
    if info.is_file():
        for line in info.read_text(encoding='utf-8').splitlines():
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()
