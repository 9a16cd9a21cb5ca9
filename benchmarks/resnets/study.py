"""Train the teacher and the runs of the grid that lies here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # studies/ is not installed

from studies.grid.compare import Options, compare  # noqa: E402
from studies.grid.grid import read_grid  # noqa: E402
from studies.grid.plan import plan_runs  # noqa: E402
from studies.grid.table import read_table  # noqa: E402
from studies.toydata.minicoco.generate import generate_minicoco  # noqa: E402


class Study:
    """A folder with images, a teacher and runs.

    Paths in configs are relative to it, and it links to what they name of
    the repository.

    Args:
        folder: The folder.
        toy: Whether nothing is trained, and runs are only planned.
    """

    def __init__(self, folder: Path, *, toy: bool) -> None:
        self.folder = folder
        self.toy = toy
        self.grid = read_grid(ROOT / 'benchmarks/resnets/grid.py')
        folder.mkdir(parents=True, exist_ok=True)
        for name in ('benchmarks', 'configs', 'tools'):
            link = folder / name
            link.unlink(missing_ok=True)
            link.symlink_to(ROOT / name)

    def draw(self) -> dict[str, Any]:
        """Draw the images."""
        made = generate_minicoco(
            self.folder / 'data/minicoco',
            num_train=2 if self.toy else 3000,
            num_val=1 if self.toy else 500,
            image_size=64 if self.toy else 256,
        )
        return {'drawn': made.generated}

    def train_teacher(self) -> dict[str, Any]:
        """Train the teacher, whose checkpoint the grid names."""
        config, checkpoint = self.grid.teacher
        path = self.folder / checkpoint
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.toy:
            path.write_bytes(b'')
            return {}
        command = ['tools/train.py', config, '--work-dir', path.parent]
        subprocess.run([sys.executable, *command], cwd=self.folder, check=True)
        return {}

    def compare(self, seed: int) -> dict[str, Any]:
        """Train a student of each method.

        Args:
            seed: One of the grid's.

        Returns:
            Their box AP, and that of the teacher.
        """
        source = self.folder / f'seed_{seed}.py'
        base = self.folder / 'benchmarks/resnets/grid.py'
        source.write_text(f'_base_ = {str(base)!r}\nseeds = [{seed}]\n')
        if self.toy:
            runs = plan_runs(read_grid(source), self.folder)
            return {'planned': [run.title for run in runs]}
        compare(
            Options(
                source=source,
                repo=self.folder,
                work_dir=self.folder / 'runs',
                jobs=4,
            ),
            Console(),
        )
        table = read_table(self.folder / 'runs/runs.csv')
        table = table[table.seed.isna() | (table.seed == seed)]
        return {'box AP': dict(zip(table.row, table.mAP, strict=True))}
