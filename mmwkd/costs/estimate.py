"""Estimate the interrelations of a teacher's categories.

Shapes: K categories, background included and last; S categories with enough
samples.
"""

import dataclasses
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import mmcv
import mmdet
import mmengine
import numpy as np
import torch
from mmengine import dist
from mmengine.config import Config
from mmengine.logging import print_log
from torch import Tensor

from mmwkd.cost_options import (
    CollectOptions,
    EstimateOptions,
    EstimatorName,
)
from mmwkd.costs.collect import (
    build_dataset,
    classifier_weight,
    collect_statistics,
    known_classes,
)
from mmwkd.costs.cost_matrix import BACKGROUND, CostMatrix
from mmwkd.costs.statistics import ClassStatistics
from mmwkd.distillers.teacher import FrozenTeacher
from mmwkd.functional import (
    centroid_interrelation,
    classifier_interrelation,
    confusion_interrelation,
    paired_cka_interrelation,
)
from mmwkd.functional.checks import check_at_least
from mmwkd.version import __version__


class Estimator(NamedTuple):
    """The statistics that an estimator needs, and its formula.

    The formula maps statistics, and the indices of the S categories with
    enough samples, to their interrelation, of shape (S, S).
    """

    formula: Callable[[ClassStatistics, Tensor], Tensor] | None  # no images
    predictions: bool = False  # are measured instead of features
    keeps_samples: bool = False


ESTIMATORS: dict[EstimatorName, Estimator] = {
    'classifier': Estimator(None),
    'centroid': Estimator(
        lambda statistics, found: centroid_interrelation(
            statistics.means[found]
        )
    ),
    'confusion': Estimator(
        lambda statistics, found: confusion_interrelation(
            statistics.means[found]
        ),
        predictions=True,
    ),
    'paired_cka': Estimator(
        lambda statistics, found: paired_cka_interrelation(
            [statistics.kept_samples(i) for i in found.tolist()]
        ),
        keeps_samples=True,
    ),
}


def estimate_cost_matrix(
    config: Config,
    teacher: FrozenTeacher,
    options: EstimateOptions,
    collect: CollectOptions,
    *,
    name: str = '',
) -> CostMatrix:
    """Estimate a cost matrix of a teacher, on the device where it is.

    The config has the datasets; the name of the teacher's is recorded.
    """
    check_at_least(
        1,
        min_samples=options.min_samples,
        batch_size=collect.batch_size,
        max_images=1 if collect.max_images is None else collect.max_images,
    )
    check_at_least(2, cap=options.cap)
    check_at_least(
        0, negatives=collect.negatives, num_workers=collect.num_workers
    )
    estimator = ESTIMATORS[options.estimator]
    interrelation = classifier_interrelation(classifier_weight(teacher))
    measured: dict[str, Any] = {}
    dataset = None
    if estimator.formula is not None or teacher.classes is None:
        dataset = build_dataset(config, collect.split)
    classes = known_classes(teacher, dataset)
    if estimator.formula is not None:
        statistics = collect_statistics(
            teacher,
            dataset,
            collect,
            predictions=estimator.predictions,
            cap=options.cap if estimator.keeps_samples else 0,
        )
        enough = statistics.counts >= options.min_samples
        if enough.sum() < 2:
            raise ValueError(
                f'{int(enough.sum())} categories have {options.min_samples} '
                'samples or more, two are needed: the most that one has is '
                f'{int(statistics.counts.max())}; check the annotations, '
                'min_samples, min_size and max_images'
            )
        interrelation = interrelation_of(
            estimator, statistics, enough, fallback=interrelation
        )
        few = (~enough).nonzero().flatten().tolist()
        fallback = [(*classes, BACKGROUND)[i] for i in few]
        if fallback and dist.get_rank() == 0:
            print_log(
                f'mmwkd: {len(fallback)} categories have fewer than '
                f'{options.min_samples} samples; their relations are those '
                f'of the classifier weights: {", ".join(fallback)}',
                'current',
                level=30,
            )
        recorded = dataclasses.asdict(collect)
        del recorded['batch_size'], recorded['num_workers']  # speed alone
        recorded.update(
            min_samples=options.min_samples,
            cap=statistics.cap,
            fallback=fallback,
        )
        measured = dict(
            options=recorded, samples=statistics.counts.cpu().numpy()
        )
    return CostMatrix(
        categories=(*classes, BACKGROUND),
        interrelation=interrelation.float().cpu().numpy(),
        estimator=options.estimator,
        teacher_config=name,
        checkpoint_sha256=teacher.sha256,
        versions={
            'mmwkd': __version__,
            'torch': torch.__version__,
            'numpy': np.__version__,
            'mmengine': mmengine.__version__,
            'mmcv': mmcv.__version__,
            'mmdet': mmdet.__version__,
        },
        **measured,
    )


def interrelation_of(
    estimator: Estimator,
    statistics: ClassStatistics,
    enough: Tensor,
    *,
    fallback: Tensor,
) -> Tensor:
    """Interrelations (K, K) from statistics, where there are enough samples.

    Rows and columns of categories without ``enough`` (K,) are those of the
    ``fallback`` (K, K); two categories must have enough.
    """
    assert estimator.formula is not None
    found = enough.nonzero().flatten()  # (S,)
    matrix = estimator.formula(statistics, found)
    result = fallback.to(matrix, copy=True)
    result[found[:, None], found] = matrix
    return result


def join_ranks(device: str | None) -> str:
    """Join processes that torchrun started; the device of this one."""
    has_gpu = torch.cuda.is_available() and device != 'cpu'
    if (
        torch.distributed.is_torchelastic_launched()
        and not torch.distributed.is_initialized()
    ):
        torch.distributed.init_process_group('nccl' if has_gpu else 'gloo')
    if has_gpu and device is not None and dist.get_world_size() > 1:
        raise ValueError(
            f'several processes cannot share --device {device}: leave it out, '
            'and each takes a GPU of its own'
        )
    if device is None and has_gpu:
        device = f'cuda:{os.environ.get("LOCAL_RANK", 0)}'
        torch.cuda.set_device(device)
    return device or 'cpu'
