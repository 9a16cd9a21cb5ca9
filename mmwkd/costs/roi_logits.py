"""Class logits of a student and a teacher on the same RoIs, to look at.

Shapes: R RoIs, K categories, background included and last.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.runner import Runner, set_random_seed
from torch import Tensor

from mmwkd.configs import is_distiller, type_name
from mmwkd.costs.archive import open_archive
from mmwkd.costs.cost_matrix import BACKGROUND, CostMatrix
from mmwkd.distillers import DetectorDistiller
from mmwkd.distillers.checkpoint import load_strictly, read_weights
from mmwkd.losses import WKDLogitLoss

_ENTRIES = ('student_logits', 'teacher_logits', 'target')
_LIMIT = 2**30  # bytes; those of 100,000 RoIs of LVIS


@dataclass(frozen=True)
class RoILogits:
    """Logits of both detectors on the same RoIs, checked on construction."""

    student_logits: Tensor  # (R, K)
    teacher_logits: Tensor  # (R, K)
    target: Tensor  # (R,), label of each RoI

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together."""
        shapes = [
            tuple(array.shape)
            for array in (
                self.student_logits,
                self.teacher_logits,
                self.target,
            )
        ]
        if (
            len(shapes[0]) != 2
            or shapes[0] != shapes[1]
            or shapes[2] != shapes[0][:1]
        ):
            raise ValueError(
                'student_logits and teacher_logits must be (R, K) and target '
                f'(R,), got {shapes[0]}, {shapes[1]} and {shapes[2]}'
            )
        if len(self.target) == 0:
            raise ValueError('there are no RoIs to look at')
        if self.target.is_floating_point() or not (
            self.target.min() >= 0 and self.target.max() < shapes[0][1]
        ):
            raise ValueError(
                f'target must hold indices of {shapes[0][1]} categories, got '
                f'{self.target.min():g} to {self.target.max():g} of '
                f'{self.target.dtype}'
            )
        for name in _ENTRIES[:2]:
            if not getattr(self, name).isfinite().all():
                raise ValueError(f'{name} is not finite')


class TransportSubject(NamedTuple):
    """What there is to look at: RoIs, the bound loss, and names."""

    logits: RoILogits
    loss: WKDLogitLoss
    categories: tuple[str, ...]  # K


def load_logits(path: str | os.PathLike[str]) -> RoILogits:
    """Read logits from a file; nothing in it is ever unpickled.

    Args:
        path: An ``.npz`` with ``student_logits`` and ``teacher_logits`` of
            shape (R, K) and ``target`` of shape (R,).

    Returns:
        The logits.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds something else.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'{path} does not exist')
    try:
        with open_archive(path, _ENTRIES, limit=_LIMIT) as archive:
            arrays = {
                name: torch.from_numpy(archive[name]) for name in _ENTRIES
            }
        return RoILogits(
            arrays['student_logits'].float(),
            arrays['teacher_logits'].float(),
            arrays['target'],
        )
    except ValueError as error:
        raise ValueError(
            f'{path} holds no logits ({", ".join(_ENTRIES)}): {error}'
        ) from error


def subject_from_file(
    path: str | os.PathLike[str],
    cost: str | os.PathLike[str],
    **loss_options: Any,
) -> TransportSubject:
    """Logits of a file, with a cost matrix.

    Args:
        path: See :func:`load_logits`.
        cost: :class:`CostMatrix` file.
        **loss_options: Options of :class:`WKDLogitLoss` that differ from its
            defaults.

    Returns:
        What to look at.

    Raises:
        ValueError: If file and matrix differ in the number of categories.
    """
    logits = load_logits(path)
    loss = WKDLogitLoss(cost=str(cost), **loss_options)
    loss.bind(None, logits.student_logits.shape[1])
    return TransportSubject(logits, loss, CostMatrix.load(cost).categories)


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
        cost: :class:`CostMatrix` file instead of the configured cost.
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
    cfg = Config.fromfile(str(config))
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
    classes = tuple(loader.dataset.metainfo['classes'])
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
    mine, theirs, labels, _ = distiller.compared_logits(step)
    foreground = labels < mine.shape[1] - 1
    found = foreground.nonzero().flatten()
    if len(found) == 0:
        raise ValueError(
            'no sampled RoI is of an object; try more images (--num-images)'
        )
    spread = torch.linspace(0, len(found) - 1, min(num_rois, len(found)))
    rows = found[spread.round().long().to(found.device)]
    return RoILogits(
        mine[rows].float().cpu(),
        theirs[rows].float().cpu(),
        labels[rows].cpu(),
    )


def pick_subject(
    config: str | None = None,
    checkpoint: str | None = None,
    *,
    logits: Path | None = None,
    cost: Path | None = None,
    num_images: int = 8,
    num_rois: int = 32,
    seed: int = 0,
    **loss_options: Any,
) -> TransportSubject:
    """Logits of a file or of a live pair, whichever is given.

    Args:
        config: Config of a distillation run.
        checkpoint: Checkpoint of its student.
        logits: File of logits instead.
        cost: Cost matrix file.
        num_images: See :func:`subject_from_config`.
        num_rois: See :func:`subject_from_config`.
        seed: See :func:`subject_from_config`.
        **loss_options: Options of the loss to override; None for its own.

    Returns:
        What to look at.

    Raises:
        ValueError: If not one source is given, or a file of logits without
            a cost.
    """
    if (config is None) == (logits is None):
        raise ValueError(
            'give either the config of a distillation run or --logits FILE'
        )
    given = {k: v for k, v in loss_options.items() if v is not None}
    if logits is not None:
        if cost is None:
            raise ValueError('--logits needs --cost, a cost matrix file')
        return subject_from_file(logits, cost, **given)
    assert config is not None
    for name, value in dict(num_images=num_images, num_rois=num_rois).items():
        if value < 1:
            raise ValueError(f'{name} must be at least 1, got {value}')
    return subject_from_config(
        config,
        checkpoint,
        cost=cost,
        num_images=num_images,
        num_rois=num_rois,
        seed=seed,
        **given,
    )
