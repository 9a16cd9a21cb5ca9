"""Class statistics in one pass over the data and in bounded memory.

Shapes: K categories, background included and last; D features; d projected
features; R samples of a batch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import numpy as np
import torch
from mmengine import dist
from torch import Tensor

Scatter = Literal['none', 'pooled', 'per_class']

_NO_KEY = torch.iinfo(torch.int64).max  # larger than every sample's key
_DOUBLE, _SINGLE = 8, 4  # bytes


@dataclass(frozen=True, kw_only=True)
class StatisticsPlan:
    """What is accumulated; its size is known before the data is.

    Attributes:
        num_categories: K.
        num_features: D.
        scatter: Sums of outer products of centred features: 'none', 'pooled'
            over all categories, or 'per_class'.
        projected_features: d, to which features are projected for the
            scatter of each class; None keeps D.
        confusion: Whether predicted probabilities are averaged.
        cap: Samples kept of each category; 0 for none.
        seed: Seed of the projection.
    """

    num_categories: int
    num_features: int
    scatter: Scatter = 'none'
    projected_features: int | None = None
    confusion: bool = False
    cap: int = 0
    seed: int = 0

    @property
    def scatter_shape(self) -> tuple[int, int, int]:
        """Shape of the scatter: (0, 0, 0), (1, D, D) or (K, d, d)."""
        if self.scatter == 'none':
            return (0, 0, 0)
        if self.scatter == 'pooled':
            return (1, self.num_features, self.num_features)
        width = self.projected_features or self.num_features
        return (self.num_categories, width, width)

    @property
    def num_bytes(self) -> int:
        r"""Memory of the statistics, in bytes.

        .. math:: 8 K (D + 1) + 8 S + 8 K^2 [\text{confusion}] +
            K\,\text{cap}\,(4 D + 8) + 8 D d [\text{projected}]

        with S the entries of the scatter: 0, :math:`D^2` or :math:`K d^2`.
        """
        size, width = self.num_categories, self.num_features
        return (
            _DOUBLE * size * (width + 1)
            + _DOUBLE * math.prod(self.scatter_shape)
            + _DOUBLE * size * size * self.confusion
            + size * self.cap * (_SINGLE * width + _DOUBLE)
            + _DOUBLE * width * (self.projected_features or 0)
        )

    def within(self, memory_limit: int) -> StatisticsPlan:
        """Fit the plan to a memory limit.

        Scatters are projected to fewer features and fewer samples are kept,
        if need be.

        Args:
            memory_limit: Bytes.

        Returns:
            The plan itself where it fits, or a smaller one.

        Raises:
            ValueError: If nothing that is left would be of use.
        """
        if self.num_bytes <= memory_limit:
            return self
        bare = dataclasses.replace(self, scatter='none', cap=0)
        spare = memory_limit - bare.num_bytes
        size, width = self.num_categories, self.num_features
        plan, left = self, 0
        if self.scatter == 'per_class':
            # the root of 8 K d^2 + 8 D d = spare
            left = int(
                (
                    math.sqrt(width**2 + 4 * size * max(spare, 0) / _DOUBLE)
                    - width
                )
                / (2 * size)
            )
            plan = dataclasses.replace(self, projected_features=left)
        elif self.cap:
            left = spare // (size * (_SINGLE * width + _DOUBLE))
            plan = dataclasses.replace(self, cap=left)
        if left < 8:
            raise ValueError(
                f'statistics of {size} categories with {width} features do '
                f'not fit {memory_limit / 2**20:.4g} MiB: raise the memory '
                'limit, or choose another estimator or tensor'
            )
        return plan


class ClassStatistics:
    """Statistics of features by category, updated batch by batch.

    The result does not depend, but for rounding, on the order of the samples,
    on how they are cut into batches, or on how they are spread over ranks.

    Means and scatters are merged as in Chan, Golub and LeVeque (1983), which
    is accurate also where means are far larger than deviations. Of each
    category the samples with the smallest keys are kept: with keys that are
    hashes, a uniform sample without replacement that any order finds.

    Args:
        plan: What to accumulate.
        device: Where to.

    Attributes:
        counts: Samples of each category, int64, of shape (K,).
        means: Mean features, float64, of shape (K, D).
        scatter: Sums of outer products of features that are centred by the
            mean of their category, float64, of the plan's scatter shape.
        probabilities: Sums of predicted probabilities, float64, of shape
            (K, K), or (0, 0).
        keys: Keys of the kept samples in ascending order, of shape
            (K, cap); the largest int64 where there is none.
        samples: The kept samples, float32, of shape (K, cap, D).
    """

    def __init__(
        self, plan: StatisticsPlan, device: torch.device | str = 'cpu'
    ) -> None:
        self.plan = plan
        size, width = plan.num_categories, plan.num_features

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.float64, device=device)

        self.counts = torch.zeros(size, dtype=torch.int64, device=device)
        self.means = zeros(size, width)
        self.scatter = zeros(*plan.scatter_shape)
        self.probabilities = zeros(*(2 * (size * plan.confusion,)))
        self.keys = torch.full((size, plan.cap), _NO_KEY, device=device)
        self.samples = torch.zeros(size, plan.cap, width, device=device)
        self._projection: Tensor | None = None
        if plan.projected_features is not None:
            self._projection = torch.randn(
                width,
                plan.projected_features,
                generator=torch.Generator().manual_seed(plan.seed),
                dtype=torch.float64,
            ).to(device) / math.sqrt(plan.projected_features)

    def update(
        self,
        features: Tensor,
        labels: Tensor,
        *,
        probabilities: Tensor | None = None,
        keys: Tensor | None = None,
    ) -> None:
        """Add a batch.

        Args:
            features: Features of the samples, of shape (R, D).
            labels: Their categories, of shape (R,).
            probabilities: Predicted probabilities, of shape (R, K); for
                confusion.
            keys: Key of each sample, not negative, of shape (R,); to keep
                samples.

        Raises:
            ValueError: If what the plan asks for is missing.
        """
        if self.plan.confusion:
            if probabilities is None:
                raise ValueError('the plan needs probabilities')
            self.probabilities.index_add_(0, labels, probabilities.double())
        if self.plan.cap:
            if keys is None:
                raise ValueError('the plan needs the keys of the samples')
            self._keep_smallest(features.float(), labels, keys)

        features = features.double()
        counts = torch.bincount(labels, minlength=len(self.counts))
        means = torch.zeros_like(self.means).index_add_(0, labels, features)
        means /= counts.clamp(min=1)[:, None]
        total = self.counts + counts
        share = counts / total.clamp(min=1).double()  # (K,)
        shift = means - self.means
        present = counts.nonzero().flatten()
        between = shift * (self.counts * share).sqrt()[:, None]  # (K, D)
        self._add_outer_products(
            torch.cat([features - means[labels], between[present]]),
            torch.cat([labels, present]),
        )
        self.means += shift * share[:, None]
        self.counts = total

    def all_reduce(self) -> None:
        """Merge the statistics of all ranks, on all ranks."""
        if dist.get_world_size() == 1:
            return
        counts, means = self.counts.clone(), self.means * self.counts[:, None]
        dist.all_reduce(counts)
        dist.all_reduce(means)
        means /= counts.clamp(min=1)[:, None]
        self._add_outer_products(
            (self.means - means) * self.counts.sqrt()[:, None],
            torch.arange(len(counts), device=counts.device),
        )
        self.counts, self.means = counts, means
        for sums in (self.scatter, self.probabilities):
            if sums.numel():
                dist.all_reduce(sums)
        if self.plan.cap:
            self._merge_kept_samples()

    def mean_probabilities(self) -> Tensor:
        """Mean predicted probabilities by category, of shape (K, K)."""
        return self.probabilities / self.counts.clamp(min=1)[:, None]

    def kept_samples(self, category: int) -> Tensor:
        """Samples kept of a category in the order of their keys, (n, D)."""
        return self.samples[category, self.keys[category] != _NO_KEY]

    def state(self) -> dict[str, np.ndarray]:
        """Arrays from which :meth:`load_state` continues."""
        return {
            name: tensor.cpu().numpy()
            for name, tensor in self._tensors().items()
        }

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from :meth:`state` of the same plan.

        Args:
            state: Arrays by name; others are ignored.

        Raises:
            ValueError: If an array is missing, of another shape or type, or
                not finite.
        """
        tensors = self._tensors()
        for name, tensor in tensors.items():
            array = state.get(name)
            if array is None or array.shape != tuple(tensor.shape):
                raise ValueError(
                    f'{name} must have shape {tuple(tensor.shape)}, got '
                    f'{None if array is None else array.shape}'
                )
            if torch.from_numpy(array).dtype != tensor.dtype or not (
                np.isfinite(array).all()
            ):
                raise ValueError(
                    f'{name} must hold finite numbers of {tensor.dtype}'
                )
        for name, tensor in tensors.items():
            tensor.copy_(torch.from_numpy(state[name]))

    def _tensors(self) -> dict[str, Tensor]:
        names: tuple[str, ...] = (
            'counts',
            'means',
            'scatter',
            'probabilities',
        )
        if self.plan.cap:
            names += ('keys', 'samples')
        return {name: getattr(self, name) for name in names}

    def _add_outer_products(self, rows: Tensor, labels: Tensor) -> None:
        """Add ``row^T row`` to the scatter of each row's category."""
        if self.plan.scatter == 'none':
            return
        if self._projection is not None:
            rows = rows @ self._projection
        if self.plan.scatter == 'pooled':
            self.scatter[0].addmm_(rows.T, rows)
            return
        for category, own in _by_label(labels):
            self.scatter[category].addmm_(rows[own].T, rows[own])

    def _keep_smallest(
        self, features: Tensor, labels: Tensor, keys: Tensor
    ) -> None:
        # once there are many, hardly any sample displaces a kept one
        new = (keys < self.keys[labels, -1]).nonzero().flatten()
        for category, own in _by_label(labels[new]):
            merged = torch.cat([self.keys[category], keys[new[own]]])
            kept = merged.argsort()[: self.plan.cap]
            self.keys[category] = merged[kept]
            self.samples[category] = torch.cat(
                [self.samples[category], features[new[own]]]
            )[kept]

    def _merge_kept_samples(self) -> None:
        """Keep the smallest keys of all ranks; each gives what it has."""
        merged = torch.cat(dist.all_gather(self.keys), dim=1)
        self.keys, order = merged.sort(dim=1)
        self.keys = self.keys[:, : self.plan.cap].contiguous()
        order = order[:, : self.plan.cap]  # (K, cap)
        mine = order // self.plan.cap == dist.get_rank()
        samples = self.samples.gather(
            1, (order % self.plan.cap)[..., None].expand_as(self.samples)
        )
        # a sum with one summand, so that no rank holds those of all ranks
        self.samples = samples * mine[..., None]
        dist.all_reduce(self.samples)


def hash_key(*values: object) -> int:
    """A key that looks random, and is the same everywhere for its values."""
    text = '\0'.join(map(str, values)).encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), 'little')


def sample_keys(key: int, num: int) -> Tensor:
    """Keys of the samples of an image, from the key of the image.

    Args:
        key: Key of the image, from :func:`hash_key`.
        num: Number of samples.

    Returns:
        Keys that are not negative, int64, of shape (num,).
    """
    words = np.random.PCG64(key).random_raw(num) >> np.uint64(1)
    return torch.from_numpy(words.astype(np.int64))


def _by_label(labels: Tensor) -> list[tuple[int, Tensor]]:
    """Each label that occurs, and the indices of its rows."""
    order = labels.argsort(stable=True)
    found, counts = labels[order].unique_consecutive(return_counts=True)
    parts = order.split(counts.tolist())
    return list(zip(found.tolist(), parts, strict=True))
