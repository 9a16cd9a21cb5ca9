"""Keep what an interrupted pass over the data has gathered."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine import dist

from mmwkd.costs.archive import open_archive
from mmwkd.costs.statistics import ClassStatistics
from mmwkd.files import atomic_write

_LIMIT_OF_IDENTITY = 2**20  # bytes


@dataclass(kw_only=True)
class PartialFile:
    """The file of one rank beside the output, without pickles.

    Attributes:
        out: The output that the pass is for.
        identity: What the pass depends on, JSON values only: statistics
            gathered with anything else are not continued.
        interval: Seconds between two writes.
    """

    out: Path
    identity: Mapping[str, Any]
    interval: float = 60

    def __post_init__(self) -> None:
        """Start the clock."""
        self._last = time.monotonic()
        # as JSON gives it back: tuples are lists there
        self._identity = json.loads(
            json.dumps({**self.identity, 'processes': dist.get_world_size()})
        )

    @property
    def path(self) -> Path:
        """Path of the file."""
        return self.out.with_name(
            f'{self.out.name}.partial-{dist.get_rank()}.npz'
        )

    def restore(
        self, statistics: ClassStatistics, *, force: bool = False
    ) -> int:
        """Load what an interrupted pass has gathered.

        Args:
            statistics: Empty statistics, which receive the arrays.
            force: Whether a file of another pass may be replaced.

        Returns:
            Number of images that the statistics are of; 0 without a file.

        Raises:
            ValueError: If the file is of another pass, saying what differs,
                or cannot be read.
        """
        if not self.path.exists():
            return 0
        remedy = 'delete it, or pass force=True (--force), to start over'
        try:
            with open_archive(
                self.path,
                ('identity', 'images'),
                limit=statistics.plan.num_bytes + _LIMIT_OF_IDENTITY,
            ) as archive:
                found = json.loads(str(archive['identity']))
                differing = [
                    f'{name}: {found.get(name)!r} there, {value!r} now'
                    for name, value in self._identity.items()
                    if found.get(name) != value
                ]
                if not differing:
                    # read as a whole before any of it is taken over
                    state = dict(archive)
                    images = int(state['images'])
                    if images < 0:
                        raise ValueError(f'it is of {images} images')
                    statistics.load_state(state)
                    return images
        except ValueError as error:
            if force:
                return 0
            raise ValueError(
                f'{self.path}, of an interrupted run, cannot be read '
                f'({error}); {remedy}'
            ) from error
        if force:
            return 0
        raise ValueError(
            f'{self.path} is of an interrupted run with other options '
            f'({"; ".join(differing)}); {remedy}'
        )

    def save_if_due(self, statistics: ClassStatistics, images: int) -> None:
        """Write the file if the last time is long enough ago."""
        if time.monotonic() - self._last >= self.interval:
            self.save(statistics, images)

    def save(self, statistics: ClassStatistics, images: int) -> None:
        """Write the file, whole or not at all.

        Args:
            statistics: Statistics so far.
            images: Number of images that they are of.
        """
        with atomic_write(self.path, force=True) as file:
            arrays: dict[str, Any] = dict(
                identity=np.str_(json.dumps(self._identity)),
                images=np.int64(images),
                **statistics.state(),
            )
            np.savez(file, **arrays)
        self._last = time.monotonic()

    def remove(self) -> None:
        """Remove the files of all ranks, once the output is written."""
        for path in self.out.parent.glob(f'{self.out.name}.partial-*.npz'):
            path.unlink(missing_ok=True)
