"""Class logits of a student and a teacher on the same RoIs, to look at.

Shapes: R RoIs, K categories, background included and last.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.runner import Runner, set_random_seed
from torch import Tensor

from mmwkd.configs import (
    dataset_classes,
    is_distiller,
    read_config,
    type_name,
)
from mmwkd.costs.cost_matrix import BACKGROUND
from mmwkd.distillers import DetectorDistiller
from mmwkd.distillers.checkpoint import load_strictly, read_weights
from mmwkd.losses import WKDLogitLoss


class RoILogits(NamedTuple):
    """Logits of both detectors on the same RoIs."""

    student_logits: Tensor  # (R, K)
    teacher_logits: Tensor  # (R, K)
    target: Tensor  # (R,), label of each RoI


class TransportSubject(NamedTuple):
    """What there is to look at: RoIs, the bound loss, and names."""

    logits: RoILogits
    loss: WKDLogitLoss
    categories: tuple[str, ...]  # K


def subject_from_config(
    config: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str] | None = None,
    *,
    cost: str | os.PathLike[str] | None = None,
    num_images: int = 8,
    num_rois: int = 32,
    seed: int = 0,
    **loss_options: Any,
) -> TransportSubject:
    """Run a distiller on a few training images and take foreground RoIs.

    Both detectors are in eval mode, and nothing is trained.

    Args:
        config: Config of a distillation run with a ``logit_loss``.
        checkpoint: Checkpoint of the student; None for its initial weights.
        cost: Cost matrix file instead of the configured cost.
        num_images: Training images to run on.
        num_rois: RoIs to take at most, spread over the images.
        seed: Seed of initial weights, images and RoI sampling.
        **loss_options: Options of the ``logit_loss`` to override.

    Returns:
        What to look at.

    Raises:
        ValueError: If the config is of no such run, or no sampled RoI is of
            an object.
    """
    register_all_modules(init_default_scope=True)
    cfg = read_config(str(config))
    if not is_distiller(cfg.get('model', {})) or not cfg.model.get(
        'logit_loss'
    ):
        raise ValueError(
            f'{config} has no DetectorDistiller with a logit_loss, whose '
            'transport could be inspected'
        )
    name = type_name(cfg.model.logit_loss)
    if name != 'WKDLogitLoss':
        raise ValueError(
            f'the logit_loss of {config} is a {name}, '
            'which transports nothing; WKDLogitLoss does'
        )
    if cost is not None:
        loss_options['cost'] = str(cost)
    cfg.model.logit_loss.update(loss_options)
    set_random_seed(seed)
    distiller = MODELS.build(cfg.model)
    if checkpoint is None:
        distiller.init_weights()
    else:
        load_strictly(
            distiller.student,
            read_weights(str(checkpoint), 'checkpoint'),
            str(checkpoint),
            'checkpoint',
        )
    loader = Runner.build_dataloader(
        dict(
            cfg.train_dataloader,
            batch_size=num_images,
            num_workers=0,
            persistent_workers=False,
        ),
        seed=seed,
    )
    classes = dataset_classes(loader.dataset) or ()
    loss = distiller.distillation_losses['logit']
    loss.check_classes(classes)
    # again: building a student draws more or less with other weights
    set_random_seed(seed)
    logits = observe_logits(distiller, next(iter(loader)), num_rois)
    return TransportSubject(logits, loss, (*classes, BACKGROUND))


@torch.no_grad()
def observe_logits(
    distiller: DetectorDistiller, batch: dict[str, Any], num_rois: int
) -> RoILogits:
    """Logits on foreground RoIs of a batch, by the distiller's own capture.

    Of a cascade, the last stage is looked at.

    Args:
        distiller: A distiller with a ``logit_loss``; left in eval mode.
        batch: Unprocessed batch, as the dataloader yields it.
        num_rois: RoIs to take at most, spread over the batch.

    Returns:
        The logits.

    Raises:
        ValueError: If no sampled RoI is of an object.
    """
    distiller.eval()
    data = distiller.data_preprocessor(batch, training=True)
    _, step = distiller.observe(data['inputs'], data['data_samples'])
    student_logits, teacher_logits, target, _ = distiller.compared_logits(step)
    found = (target < student_logits.shape[1] - 1).nonzero().flatten()
    if len(found) == 0:
        raise ValueError(
            'no sampled RoI is of an object; try more images (--num-images)'
        )
    spread = torch.linspace(0, len(found) - 1, min(num_rois, len(found)))
    rows = found[spread.round().long().to(found.device)]
    return RoILogits(
        student_logits[rows].float().cpu(),
        teacher_logits[rows].float().cpu(),
        target[rows].cpu(),
    )
