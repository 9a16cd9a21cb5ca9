"""Compute a term in blocks, and again for its gradient: time for memory.

Shapes: N maps, D channels, (H, W) positions.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from mmwkd.functional.precision import computing_dtype, first_order

# Entries of a block: what a step may hold beside the maps, in a few tensors.
_ENTRIES = 2**25
# Half-precision maps are cast block by block: to a quarter of a block, so that
# the copies do not outweigh what the maps save.
_CAST_FACTOR = 4


def in_blocks(
    term: Callable[..., Tensor],
    dim: int,
    student: Tensor,
    *constants: Tensor | None,
    factor: float = 1,
) -> Tensor:
    """A term of maps, taken in blocks of maps or of channels.

    Args:
        term: Function of blocks in float32 or better, one row for each map.
        dim: 0 for blocks (B, D, H, W) of maps, whose rows are joined; 1 for
            blocks (N, B, H, W) of channels, whose terms are added.
        student: Maps that receive the gradient, of shape (N, D, H, W).
        *constants: Further arguments, which are as long as the student
            along that dimension or have one entry there; None passes.
        factor: Entries that the term holds for each entry of a map.
    """
    dtype = computing_dtype(student)
    whole = student.dtype == dtype
    entries = _ENTRIES / (factor if whole else max(factor, _CAST_FACTOR))
    size = student.shape[dim]
    step = max(1, int(entries * size / max(1, student.numel())))
    if size == 0 or (whole and step >= size):
        return term(*_cast((student, *constants), dtype))
    return _InBlocks.apply(term, dim, step, student, *constants)


class _InBlocks(torch.autograd.Function):
    """Keeps its arguments alone; nothing that is computed of them."""

    @staticmethod
    def forward(
        ctx: Any,
        term: Callable[..., Tensor],
        dim: int,
        step: int,
        student: Tensor,
        *constants: Tensor | None,
    ) -> Tensor:
        ctx.save_for_backward(student, *constants)
        ctx.split = term, dim, step
        blocks = _blocks(dim, step, student, constants)
        parts = (term(*block) for _, block in blocks)
        if dim == 0:
            return torch.cat(list(parts))
        return sum(parts, start=next(parts))

    @staticmethod
    @first_order
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        term, dim, step = ctx.split
        student, *constants = ctx.saved_tensors
        gradient = torch.empty_like(student)
        for place, (block, *others) in _blocks(dim, step, student, constants):
            with torch.enable_grad():
                block = block.detach().requires_grad_()
                value = term(block, *others)
            grad_value = grad_output[place] if dim == 0 else grad_output
            (slope,) = torch.autograd.grad(value, block, grad_value)
            gradient[place] = slope
        return None, None, None, gradient, *(None for _ in constants)


def _blocks(
    dim: int, step: int, student: Tensor, constants: Sequence[Tensor | None]
) -> Iterator[tuple[tuple[slice, ...], list[Any]]]:
    """Places of blocks, and the arguments there, in float32 or better."""
    size = student.shape[dim]
    for first in range(0, size, step):
        place = (slice(None),) * dim + (slice(first, first + step),)
        parts = [
            # what has one entry is shared
            each[place]
            if each is not None and each.shape[dim] == size
            else each
            for each in (student, *constants)
        ]
        yield place, _cast(parts, computing_dtype(student))


def _cast(arguments: Iterable[Tensor | None], dtype: torch.dtype) -> list[Any]:
    return [
        each.to(dtype)
        if each is not None and each.is_floating_point()
        else each
        for each in arguments
    ]
