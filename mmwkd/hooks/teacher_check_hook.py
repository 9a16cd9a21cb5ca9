"""Score the teacher before it teaches."""

import copy
from collections.abc import Sized
from numbers import Real
from typing import Any, ClassVar, cast

import torch
from mmdet.registry import HOOKS
from mmengine.dist import all_reduce
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmwkd.configs import dataset_classes
from mmwkd.distillers import DetectorDistiller
from mmwkd.distillers.predictions import prediction_head
from mmwkd.hooks.distiller import distiller_of
from mmwkd.random_state import restored_generators


@HOOKS.register_module()
class TeacherCheckHook(Hook):
    """Refuse to train with a teacher whose box AP is too low.

    Before the first iteration the teacher is scored with the run's own
    validation data and evaluator. Training is the same, bit for bit, as
    without the hook. A resumed run is not checked again.

    Args:
        min_ap: Smallest box mAP to go on with, from 0 to 1; 0 only logs it.
    """

    plain_hook: ClassVar[str | None] = None

    def __init__(self, *, min_ap: float) -> None:
        if not isinstance(min_ap, Real) or not 0 <= min_ap <= 1:
            raise ValueError(
                'min_ap is a mAP as CocoMetric logs it, from 0 to 1; got '
                f'{min_ap!r}'
            )
        self.min_ap: float = min_ap

    def before_train(self, runner: Runner) -> None:
        """Score the teacher; refuse one that is not good enough."""
        distiller = distiller_of(runner, self)
        if runner.iter > 0:
            return
        if runner.val_loop is None:
            raise ValueError(
                'TeacherCheckHook scores the teacher on the validation data, '
                'but the run has none: set val_dataloader, val_evaluator and '
                'val_cfg'
            )
        distiller.check_dataset()  # says more than a low AP would
        classes = dataset_classes(runner.val_dataloader.dataset)
        head = prediction_head(distiller.teacher)
        known = getattr(head, 'num_classes', None)
        if classes and known not in (None, len(classes)):
            raise ValueError(
                'TeacherCheckHook scores the teacher on the validation data, '
                f'which have {len(classes)} classes, but the teacher has '
                f'{known}: leave the hook out'
            )
        runner.logger.info('mmwkd: scoring the teacher before training')
        with restored_generators():
            ap = teacher_ap(
                distiller, runner.val_dataloader, runner.val_evaluator
            )
        scored = f'the teacher has box mAP {ap:.3f} on the validation images'
        runner.logger.info(f'mmwkd: {scored}')
        if ap < self.min_ap:
            raise ValueError(
                f'{scored}, below min_ap={self.min_ap}; check '
                'teacher.checkpoint, its classes, and whether the validation '
                'pipeline resizes images as the teacher is used to'
            )


@torch.no_grad()
def teacher_ap(
    distiller: DetectorDistiller, dataloader: DataLoader, evaluator: Evaluator
) -> float:
    """Box mAP of a distiller's teacher, the same on all ranks.

    Neither the data loader nor the evaluator is changed by it. It is 0 where
    nothing is detected.
    """
    # workers that persist belong to the copy, so that the run's own loader
    # draws its seed when it would have
    dataloader = copy.copy(dataloader)
    # a twin that shares annotations; what it caches stays its own
    evaluator = copy.copy(evaluator)
    evaluator.metrics = [copy.copy(metric) for metric in evaluator.metrics]
    for metric in evaluator.metrics:
        metric.results = []
        if 'bbox' in getattr(metric, 'metrics', ()):
            metric.metrics = ['bbox']  # a teacher need not predict masks
    num_detections = 0
    for batch in dataloader:
        samples = distiller.teacher.test_step(batch)
        evaluator.process(data_samples=samples, data_batch=batch)
        num_detections += sum(len(sample.pred_instances) for sample in samples)
    metrics = evaluator.evaluate(len(cast(Sized, dataloader.dataset)))
    return _box_ap(metrics, num_detections)


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
            'teacher have no ground truth; check val_evaluator.ann_file'
        )
    return float(scores[0])
