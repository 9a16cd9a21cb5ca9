"""Train with bfloat16 on a CPU, which mmengine's AmpOptimWrapper refuses.

On processors with bfloat16 instructions an iteration takes about half of the
time. Weights and losses stay float32.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Autocast to bfloat16 on the CPU, weights with channels last."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass of one step."""
        model.to(memory_format=torch.channels_last)  # does nothing twice
        with (
            super().optim_context(model),
            torch.autocast('cpu', torch.bfloat16),
        ):
            yield
