"""Print runs for another program to carry out: a cluster, or a list."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Literal

from studies.grid.plan import Run
from studies.grid.runs import hand_over
from studies.grid.schedule import Workshop

Style = Literal['commands', 'slurm']

_SLURM = """#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=0-{last}
#SBATCH --output={folder}/slurm-%A_%a.log
runs=(
{runs}
)
eval "${{runs[SLURM_ARRAY_TASK_ID]}}"
"""


def emit(runs: Sequence[Run], workshop: Workshop, style: Style) -> str:
    """Shell commands, one for each run, or one Slurm script with all.

    What they leave in the work-dir is read by the next comparison there.

    Args:
        runs: The runs, at least one.
        workshop: Where they would run here.
        style: What to print.
    """
    lines = []
    for run in runs:
        training = workshop.prepare(run)
        if run.checkpoint is None:
            command = [*training.command, '--resume']
            training = training._replace(command=command)
        lines.append(hand_over(training))
    if style == 'commands':
        return '\n'.join(lines) + '\n'
    return _SLURM.format(
        name=shlex.quote(runs[0].dataset),
        last=len(runs) - 1,
        folder=workshop.work_dir,
        runs='\n'.join(map(shlex.quote, lines)),
    )
