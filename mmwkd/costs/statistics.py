"""Class statistics in one pass over the data and in bounded memory.

Shapes: K categories, background included and last; D features; R samples of
a batch.
"""

from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from mmengine import dist
from torch import Tensor

_NO_KEY = torch.iinfo(torch.int64).max  # larger than every sample's key


class ClassStatistics:
    """Statistics of features by category, updated batch by batch.

    The result does not depend, but for rounding, on the order of the samples,
    on how they are cut into batches, or on how they are spread over ranks.

    Of each category the samples with the smallest keys are kept: with keys
    that are hashes, a uniform sample without replacement that any order
    finds.

    Args:
        num_categories: K.
        num_features: D.
        cap: Samples kept of each category; 0 for none.
        device: Where to accumulate.
    """

    def __init__(
        self,
        num_categories: int,
        num_features: int,
        *,
        cap: int = 0,
        device: torch.device | str = 'cpu',
    ) -> None:
        self.cap = cap
        size, width = num_categories, num_features
        double: Any = dict(dtype=torch.float64, device=device)
        self.counts = torch.zeros(size, dtype=torch.int64, device=device)
        self.means = torch.zeros(size, width, **double)
        self.keys = torch.full((size, cap), _NO_KEY, device=device)
        self.samples = torch.zeros(size, cap, width, device=device)

    def update(self, features: Tensor, labels: Tensor, keys: Tensor) -> None:
        """Add features (R, D), labels (R,) and keys (R,), not negative."""
        if self.cap:
            self._keep_smallest(features.float(), labels, keys)

        features = features.double()
        counts = torch.bincount(labels, minlength=len(self.counts))
        means = torch.zeros_like(self.means).index_add_(0, labels, features)
        means /= counts.clamp(min=1)[:, None]
        total = self.counts + counts
        share = counts / total.clamp(min=1).double()  # (K,)
        self.means += (means - self.means) * share[:, None]
        self.counts = total

    def all_reduce(self) -> None:
        """Merge the statistics of all ranks, on all ranks."""
        if dist.get_world_size() == 1:
            return
        counts, means = self.counts.clone(), self.means * self.counts[:, None]
        dist.all_reduce(counts)
        dist.all_reduce(means)
        means /= counts.clamp(min=1)[:, None]
        self.counts, self.means = counts, means
        if self.cap:
            self._merge_kept_samples()

    def kept_samples(self, category: int) -> Tensor:
        """Samples kept of a category in the order of their keys, (n, D)."""
        return self.samples[category, self.keys[category] != _NO_KEY]

    def _keep_smallest(
        self, features: Tensor, labels: Tensor, keys: Tensor
    ) -> None:
        # once there are many, hardly any sample displaces a kept one
        new = keys < self.keys[labels, -1]
        features, labels, keys = features[new], labels[new], keys[new]
        for category in labels.unique().tolist():
            own = labels == category
            merged = torch.cat([self.keys[category], keys[own]])
            kept = merged.argsort()[: self.cap]
            self.keys[category] = merged[kept]
            samples = torch.cat([self.samples[category], features[own]])
            self.samples[category] = samples[kept]

    def _merge_kept_samples(self) -> None:
        """Keep the smallest keys of all ranks; each gives what it has."""
        merged = torch.cat(dist.all_gather(self.keys), dim=1)
        self.keys, order = merged.sort(dim=1)
        self.keys = self.keys[:, : self.cap].contiguous()
        order = order[:, : self.cap]  # (K, cap)
        own = order // self.cap == dist.get_rank()
        samples = self.samples.gather(
            1, (order % self.cap)[..., None].expand_as(self.samples)
        )
        # a sum with one summand, so that no rank holds those of all ranks
        self.samples = samples * own[..., None]
        dist.all_reduce(self.samples)


def hash_key(*values: object) -> int:
    """A key that looks random, and is the same everywhere for its values."""
    text = '\0'.join(map(str, values)).encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), 'little')


def sample_keys(key: int, num: int) -> Tensor:
    """Keys of samples of an image, not negative, from its key; (num,)."""
    words = np.random.PCG64(key).random_raw(num) >> np.uint64(1)
    return torch.from_numpy(words.astype(np.int64))
