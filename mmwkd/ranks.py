"""Which process of a distributed run this is."""

from __future__ import annotations

import os

from torch import distributed

_LAUNCHERS = (
    'OMPI_COMM_WORLD_LOCAL_RANK',  # Open MPI
    'MV2_COMM_WORLD_LOCAL_RANK',  # MVAPICH2
    'MPI_LOCALRANKID',  # MPICH and Intel MPI
    'SLURM_LOCALID',
)


def local_rank() -> int:
    """Number of this process on its machine; 0 if it is alone.

    Not torchrun's variable alone: mmdet's tools set it to 0 in every process
    of another launcher. Nor that of Slurm first: under ``srun torchrun`` it
    counts the launchers. mmengine's own ``get_local_rank`` asks for a process
    group that nothing creates.
    """
    names: tuple[str, ...] = ('LOCAL_RANK',)
    if not distributed.is_torchelastic_launched():
        names = (*_LAUNCHERS, *names)
    for name in names:
        if os.environ.get(name):
            return int(os.environ[name])
    return 0
