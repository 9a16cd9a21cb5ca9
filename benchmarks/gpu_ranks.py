"""A distillation step in data-parallel ranks, against one rank alone."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import step
import torch
from mmengine.model import MMDistributedDataParallel
from timing import alternate
from torch import distributed, multiprocessing


def compare_ranks(
    losses: str,
    pair: str,
    *,
    size: tuple[int, int],
    num_images: int,
    rounds: int,
    num_ranks: int = 2,
) -> dict[str, Any]:
    """Time a step in ranks, and compare the gradients that they end with.

    Ranks run on GPUs with NCCL, or on the CPU with gloo where there are none.

    Args:
        losses: One of ``step.LOSSES``.
        pair: One of ``step.REAL_PAIRS``, or 'tiny'.
        size: Height and width of the images.
        num_images: Images of each rank; those of the ranks differ.
        rounds: Timed steps.
        num_ranks: Ranks.

    Returns:
        Time of a step alone and of one in ranks, and the largest difference
        of a gradient between ranks relative to the largest gradient.
    """
    on_gpu = torch.cuda.is_available()
    if on_gpu and torch.cuda.device_count() < num_ranks:
        raise RuntimeError(
            f'{num_ranks} ranks need as many GPUs, found '
            f'{torch.cuda.device_count()}'
        )
    with tempfile.TemporaryDirectory() as folder:
        ranks = multiprocessing.start_processes(
            _rank,
            (num_ranks, folder, losses, pair, size, num_images, rounds),
            nprocs=num_ranks,
            join=False,
            # a GPU does not survive a fork, and a CPU need not import anew
            start_method='spawn' if on_gpu else 'fork',
        )
        try:
            while not ranks.join():
                pass
        finally:
            for process in ranks.processes:
                process.kill()
        return json.loads(Path(folder, 'figures.json').read_text())


def _rank(
    rank: int,
    num_ranks: int,
    folder: str,
    losses: str,
    pair: str,
    size: tuple[int, int],
    num_images: int,
    rounds: int,
) -> None:
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(rank)
    distributed.init_process_group(
        'nccl' if on_gpu else 'gloo',
        init_method=f'file://{folder}/ranks',
        rank=rank,
        world_size=num_ranks,
    )
    work = step.Step(step.build(losses, pair), size, num_images, seed=rank)
    model = MMDistributedDataParallel(
        work.distiller,
        device_ids=[rank] if on_gpu else None,
        broadcast_buffers=False,
    )
    times = alternate(
        {'alone': work.whole, 'in ranks': lambda: work.train(model)}, rounds
    )
    work.train(model)
    gradients = torch.cat(
        [
            each.grad.flatten()
            for each in work.distiller.parameters()
            if each.grad is not None
        ]
    )
    sides = [torch.empty_like(gradients) for _ in range(num_ranks)]
    distributed.all_gather(sides, gradients)
    if rank == 0:
        gap = max((side - gradients).abs().max() for side in sides)
        figures = {
            'ranks': num_ranks,
            'backend': distributed.get_backend(),
            'alone ms': times['alone']['median_ms'],
            'in ranks ms': times['in ranks']['median_ms'],
            'largest gradient': float(gradients.abs().max()),
            'gap of the ranks': float(gap / gradients.abs().max()),
        }
        Path(folder, 'figures.json').write_text(json.dumps(figures))
    distributed.barrier()
    # gloo's threads may wait for ever for a group that the model still holds
    os._exit(0)
