"""Score the teacher before it teaches."""

from __future__ import annotations

import copy
import math
from collections.abc import Sized
from typing import Any, ClassVar, cast

import torch
from mmdet.evaluation import CocoMetric
from mmdet.registry import HOOKS
from mmengine.dist import all_gather_object, all_reduce, get_world_size
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmwkd.distillers import DetectorDistiller
from mmwkd.hooks.distiller import distiller_of
from mmwkd.random_state import restored_generators


@HOOKS.register_module()
class TeacherCheckHook(Hook):
    """Refuse to train with a teacher whose box AP is too low.

    Before the first iteration the teacher is scored with the run's own
    validation data and evaluator. Training is the same, bit for bit, as
    without the hook.

    Args:
        min_ap: Smallest box mAP to go on with, from 0 to 1; 0 only logs it.
        max_images: Score only the first images of the validation sampler,
            rounded up to a multiple of the processes; None for all. Their AP
            is a rough estimate of the AP on all.
        on_resume: Whether a resumed run is checked again.
    """

    plain_hook: ClassVar[str | None] = None

    def __init__(
        self,
        *,
        min_ap: float,
        max_images: int | None = None,
        on_resume: bool = False,
    ) -> None:
        if not 0 <= min_ap <= 1:
            raise ValueError(
                'min_ap is a mAP as CocoMetric logs it, from 0 to 1; got '
                f'{min_ap}'
            )
        if max_images is not None and max_images < 1:
            raise ValueError(
                f'max_images must be positive or None, got {max_images}'
            )
        self.min_ap = min_ap
        self.max_images = max_images
        self.on_resume = on_resume

    def before_train(self, runner: Runner) -> None:
        """Score the teacher; refuse one that is not good enough."""
        distiller = distiller_of(runner, self)
        if runner.iter > 0 and not self.on_resume:
            return
        if runner.val_loop is None:
            raise ValueError(
                'TeacherCheckHook scores the teacher on the validation data, '
                'but the run has none: set val_dataloader, val_evaluator and '
                'val_cfg'
            )
        distiller.check_dataset()  # says more than a low AP would
        runner.logger.info('mmwkd: scoring the teacher before training')
        with restored_generators():
            ap, num_images = teacher_ap(
                distiller,
                runner.val_dataloader,
                runner.val_evaluator,
                max_images=self.max_images,
            )
        runner.logger.info(
            f'mmwkd: the teacher has box mAP {ap:.3f} on {num_images} '
            'validation images'
        )
        if ap < self.min_ap:
            raise ValueError(
                f'the teacher has box mAP {ap:.3f} on {num_images} validation '
                f'images, below min_ap={self.min_ap}; check '
                'teacher.checkpoint, its classes, and whether the validation '
                'pipeline resizes images as the teacher is used to'
            )


def teacher_ap(
    distiller: DetectorDistiller,
    dataloader: DataLoader,
    evaluator: Evaluator,
    *,
    max_images: int | None = None,
) -> tuple[float, int]:
    """Box mAP of a distiller's teacher, the same on all ranks.

    Neither the data loader nor the evaluator is changed by it.

    Args:
        distiller: The distiller.
        dataloader: Loader of validation data.
        evaluator: Its evaluator; one of its metrics gives ``bbox_mAP``.
        max_images: See :class:`TeacherCheckHook`.

    Returns:
        The mAP, 0 where nothing is detected, and the number of images.

    Raises:
        ValueError: If no metric gives ``bbox_mAP``, or the images have no
            ground truth.
    """
    # workers that persist belong to the copy, so that the run's own loader
    # draws its seed when it would have
    dataloader = copy.copy(dataloader)
    evaluator = _with_results_of_its_own(evaluator)
    num_images = len(cast(Sized, dataloader.dataset))
    world_size = get_world_size()
    share = math.ceil((max_images or num_images) / world_size)
    is_subset = share * world_size < num_images
    img_ids: list[Any] = []
    num_detections = 0
    for batch in dataloader:
        samples = distiller.predict_with_teacher(batch)
        if is_subset:
            samples = samples[: share - len(img_ids)]
        evaluator.process(data_samples=samples, data_batch=batch)
        img_ids.extend(sample.img_id for sample in samples)
        num_detections += sum(len(sample.pred_instances) for sample in samples)
        if is_subset and len(img_ids) == share:
            break
    if is_subset:
        num_images = share * world_size
        _restrict(evaluator, sum(all_gather_object(img_ids), []))
    metrics = evaluator.evaluate(num_images)
    return _box_ap(metrics, num_detections), num_images


def _box_ap(metrics: dict[str, Any], num_detections: int) -> float:
    scores = [
        value
        for key, value in metrics.items()
        if key.rpartition('/')[2] == 'bbox_mAP'
    ]
    if not scores:
        count = torch.tensor(num_detections)
        all_reduce(count)
        if count == 0:
            return 0.0  # CocoMetric then gives no metric at all
        raise ValueError(
            'TeacherCheckHook judges the teacher by bbox_mAP, but '
            f'val_evaluator gives {sorted(metrics) or "nothing"}; use '
            "dict(type='CocoMetric', metric='bbox', ...)"
        )
    if scores[0] < 0:  # COCO's mark for a mean over no category
        raise ValueError(
            'the validation images on which TeacherCheckHook scores the '
            'teacher have no ground truth; raise max_images or check '
            'val_evaluator.ann_file'
        )
    return float(scores[0])


def _with_results_of_its_own(evaluator: Evaluator) -> Evaluator:
    """A twin that shares annotations; what it caches stays its own."""
    evaluator = copy.copy(evaluator)
    evaluator.metrics = [copy.copy(metric) for metric in evaluator.metrics]
    for metric in evaluator.metrics:
        metric.results = []
    return evaluator


def _restrict(evaluator: Evaluator, img_ids: list[Any]) -> None:
    """Keep CocoMetric from counting images that nobody looked at."""
    for metric in evaluator.metrics:
        if isinstance(metric, CocoMetric):
            metric.img_ids = img_ids
