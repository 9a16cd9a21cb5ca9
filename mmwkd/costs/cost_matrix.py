"""The cost matrix as a file: category interrelations and where they are from.

Shapes: K categories, background included and last.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmwkd.configs import first_difference
from mmwkd.files import atomic_write
from mmwkd.functional import interrelation_to_cost

BACKGROUND = 'background'
SCHEMA_VERSION = 1
_SYMMETRY_TOLERANCE = 1e-5


@dataclass(frozen=True, kw_only=True)
class CostMatrix:
    """Category interrelations of a teacher, checked on construction.

    ``kappa`` is not part of the file: it is applied by :meth:`cost`, so that
    one estimate serves every sharpness.

    Attributes:
        categories: Names in the order of the logits, 'background' last.
        interrelation: Similarities in [0, 1], 1 on the diagonal, float32, of
            shape (K, K).
        estimator: Name of the estimator, such as 'classifier'.
        options: Options of the estimator, JSON values only.
        teacher_config: Name or path of the teacher's config.
        checkpoint_sha256: Hash of the teacher's checkpoint file.
        samples: Samples used of each category, of shape (K,); None where the
            estimator needs none.
        versions: Library versions it was made with.

    Raises:
        ValueError: If the matrix is not a (K, K) interrelation, saying which
            entry is wrong.
    """

    categories: tuple[str, ...]
    interrelation: np.ndarray
    estimator: str
    options: Mapping[str, Any] = field(default_factory=dict)
    teacher_config: str = ''
    checkpoint_sha256: str = ''
    samples: np.ndarray | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what is not an interrelation."""
        _check_interrelation(self.interrelation, self.categories)
        if self.samples is not None and self.samples.shape != (
            len(self.categories),
        ):
            raise ValueError(
                f'samples must have shape ({len(self.categories)},), got '
                f'{self.samples.shape}'
            )

    def cost(self, kappa: float) -> Tensor:
        """Ground cost ``1 - exp(-kappa (1 - IR))``, of shape (K, K)."""
        return interrelation_to_cost(
            torch.from_numpy(self.interrelation).float(), kappa
        )

    def check_categories(self, classes: Sequence[str]) -> None:
        """Refuse another list of foreground classes, in order."""
        own = self.categories[:-1]
        if own != tuple(classes):
            raise ValueError(
                'the cost matrix was made for other classes than the '
                f'detector: {first_difference(own, classes)}'
            )

    def save(
        self, path: str | os.PathLike[str], *, force: bool = False
    ) -> None:
        """Write an ``.npz`` without pickles, whole or not at all.

        Raises:
            FileExistsError: If the file exists and ``force`` is not set.
        """
        samples = self.samples if self.samples is not None else np.zeros(0)
        with atomic_write(path, force=force) as file:
            np.savez_compressed(
                file,
                schema_version=np.int64(SCHEMA_VERSION),
                categories=np.array(self.categories, dtype=np.str_),
                interrelation=self.interrelation.astype(np.float32),
                estimator=np.str_(self.estimator),
                options=np.str_(json.dumps(dict(self.options))),
                teacher_config=np.str_(self.teacher_config),
                checkpoint_sha256=np.str_(self.checkpoint_sha256),
                samples=samples.astype(np.int64),
                versions=np.str_(json.dumps(dict(self.versions))),
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CostMatrix:
        """Read and check a file; nothing in it is ever unpickled.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is not a cost matrix, naming the file and
                what is wrong with it.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(
                f'cost matrix {path} does not exist; write one with '
                "`mmwkd cost estimate`, or set cost='classifier'"
            )
        try:
            with np.load(path, allow_pickle=False) as archive:
                version = int(archive['schema_version'])
                if version != SCHEMA_VERSION:
                    raise ValueError(
                        f'schema version {version} is not supported, '
                        f'expected {SCHEMA_VERSION}'
                    )
                samples = archive['samples']
                return cls(
                    categories=tuple(map(str, archive['categories'])),
                    interrelation=archive['interrelation'],
                    estimator=str(archive['estimator']),
                    options=json.loads(str(archive['options'])),
                    teacher_config=str(archive['teacher_config']),
                    checkpoint_sha256=str(archive['checkpoint_sha256']),
                    samples=samples if samples.size else None,
                    versions=json.loads(str(archive['versions'])),
                )
        except Exception as error:  # broken bytes make a parser raise anything
            raise ValueError(
                f'{path} is not a usable cost matrix: {error}'
            ) from error


def _check_interrelation(
    matrix: np.ndarray, categories: Sequence[str]
) -> None:
    size = len(categories)
    if size < 2 or categories[-1] != BACKGROUND:
        raise ValueError(
            f'categories must end with {BACKGROUND!r} and have at least one '
            f'more, got {list(categories)[-3:]}'
        )
    if len(set(categories)) != size:
        raise ValueError('categories must be unique')
    if matrix.shape != (size, size):
        raise ValueError(
            f'the matrix must be square, ({size}, {size}) for its '
            f'categories, got shape {matrix.shape}'
        )
    if not np.issubdtype(matrix.dtype, np.floating):
        raise ValueError(f'the matrix must be of floats, got {matrix.dtype}')
    problems = {
        'is not finite': ~np.isfinite(matrix),
        'is negative': matrix < 0,
        'is above 1': matrix > 1 + _SYMMETRY_TOLERANCE,
        'is not equal to its transpose': ~np.isclose(
            matrix, matrix.T, atol=_SYMMETRY_TOLERANCE, rtol=0
        ),
        'is not 1': np.eye(size, dtype=bool)
        & ~np.isclose(matrix, 1, atol=_SYMMETRY_TOLERANCE),
    }
    for problem, where in problems.items():
        if where.any():
            i, j = (int(index) for index in np.argwhere(where)[0])
            raise ValueError(
                f'entry ({categories[i]}, {categories[j]}) = '
                f'{matrix[i, j]:g} {problem}'
            )
