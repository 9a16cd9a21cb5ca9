"""Estimate the interrelations of a teacher's categories.

Shapes: K categories, background included and last; S categories with enough
samples.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import mmcv
import mmdet
import mmengine
import numpy as np
import torch
from mmengine import dist
from mmengine.config import Config
from mmengine.logging import print_log
from torch import Tensor

from mmwkd.configs import is_distiller
from mmwkd.costs.collect import (
    CollectOptions,
    build_dataset,
    collect_statistics,
    num_features,
)
from mmwkd.costs.cost_matrix import BACKGROUND, CostMatrix
from mmwkd.costs.partial import PartialFile
from mmwkd.costs.statistics import ClassStatistics, StatisticsPlan
from mmwkd.distillers.alignment import check_roi_head
from mmwkd.distillers.capture import box_heads
from mmwkd.distillers.categories import classifier_rows
from mmwkd.distillers.teacher import FrozenTeacher, build_teacher
from mmwkd.files import check_writable
from mmwkd.functional import (
    centroid_interrelation,
    centroid_kernel_interrelation,
    classifier_interrelation,
    confusion_interrelation,
    covariance_interrelation,
    paired_cka_interrelation,
    whitened_centroid_interrelation,
)
from mmwkd.ranks import local_rank
from mmwkd.version import __version__

Estimator = Literal[
    'classifier',
    'centroid',
    'centroid_kernel',
    'whitened_centroid',
    'covariance',
    'confusion',
    'paired_cka',
]
ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EstimateOptions:
    """How interrelations are estimated from statistics.

    Attributes:
        estimator: One of :data:`ESTIMATORS`.
        cap: Samples kept of each category, for 'paired_cka'.
        min_samples: A category with fewer takes its relations from the
            classifier weights.
        memory_limit: Bytes that the statistics may take; 'covariance' is
            projected to fewer features and 'paired_cka' keeps fewer samples,
            if need be.
    """

    estimator: Estimator = 'centroid'
    cap: int = 256
    min_samples: int = 5
    memory_limit: int = 2**30

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.estimator not in ESTIMATORS:
            raise ValueError(
                f'estimator must be one of {", ".join(ESTIMATORS)}, got '
                f'{self.estimator!r}'
            )
        for name in ('cap', 'min_samples'):
            if getattr(self, name) < 2:
                raise ValueError(
                    f'{name} must be at least 2, got {getattr(self, name)}'
                )

    def plan(self, num_categories: int, num_features: int) -> StatisticsPlan:
        """Statistics that the estimator needs, within the memory limit."""
        needs: dict[str, dict[str, Any]] = {
            'whitened_centroid': dict(scatter='pooled'),
            'covariance': dict(scatter='per_class'),
            'confusion': dict(confusion=True),
            'paired_cka': dict(cap=self.cap),
        }
        return StatisticsPlan(
            num_categories=num_categories,
            num_features=num_features,
            **needs.get(self.estimator, {}),
        ).within(self.memory_limit)


def write_cost_matrix(
    config: str | os.PathLike[str],
    checkpoint: str | None,
    out: str | os.PathLike[str],
    *,
    options: EstimateOptions | None = None,
    collect: CollectOptions | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    device: str | None = None,
    force: bool = False,
    progress: Callable[..., Iterable[Any]] | None = None,
) -> CostMatrix:
    """Estimate a cost matrix and write it; on all ranks of torchrun together.

    That the output can be written is found out first. An interrupted run
    leaves ``OUT.partial-<rank>.npz``, from which the same call continues.

    Args:
        config: Config of a detector, or of a distiller, whose teacher is
            taken.
        checkpoint: Weights of the detector; None for those that the
            distiller's config names.
        out: File to write.
        options: How interrelations are estimated.
        collect: What is measured, and on which boxes.
        cfg_options: Changes to the config.
        device: Such as 'cuda:0'; None for a GPU where there is one.
        force: Whether an existing file may be replaced.
        progress: Wraps the batches to show progress, as ``tqdm`` does.

    Returns:
        The matrix that was written.

    Raises:
        FileExistsError: If the file exists and ``force`` is not set.
        OSError: If the file cannot be written.
        ValueError: If the matrix cannot be estimated, saying why.
    """
    out = Path(out)
    check_writable(out, force=force)
    options, collect = (
        options or EstimateOptions(),
        collect or CollectOptions(),
    )
    loaded, source, teacher = _load(config, checkpoint, cfg_options, device)
    partial = PartialFile(
        out=out,
        identity=dict(
            config=hashlib.sha256(loaded.pretty_text.encode()).hexdigest(),
            checkpoint=teacher.sha256,
            **dataclasses.asdict(options),
            **_what_is_measured(collect),
        ),
    )
    matrix = estimate_cost_matrix(
        loaded,
        teacher,
        options,
        collect,
        teacher_config=_name_of(source, str(config)),
        partial=partial,
        force=force,
        progress=progress,
    )
    if dist.get_rank() == 0:
        matrix.save(out, force=force)
        partial.remove()
    dist.barrier()
    return matrix


def estimate_cost_matrix(
    config: Config,
    teacher: FrozenTeacher,
    options: EstimateOptions,
    collect: CollectOptions,
    *,
    teacher_config: str = '',
    partial: PartialFile | None = None,
    force: bool = False,
    progress: Callable[..., Iterable[Any]] | None = None,
) -> CostMatrix:
    """Estimate a cost matrix of a teacher.

    Args:
        config: Config with the datasets.
        teacher: The teacher, on the device to run on.
        options: How interrelations are estimated.
        collect: What is measured, and on which boxes.
        teacher_config: Name of the teacher's config, to be recorded.
        partial: File from which an interrupted pass continues.
        force: Whether a partial file of another pass may be replaced.
        progress: Wraps the batches to show progress, as ``tqdm`` does.

    Returns:
        The matrix.

    Raises:
        ValueError: If the teacher or the dataset do not allow it.
    """
    record: dict[str, Any] = dict(
        estimator=options.estimator,
        teacher_config=teacher_config,
        checkpoint_sha256=teacher.sha256,
        versions={
            'mmwkd': __version__,
            'torch': torch.__version__,
            'numpy': np.__version__,
            'mmengine': mmengine.__version__,
            'mmcv': mmcv.__version__,
            'mmdet': mmdet.__version__,
        },
    )
    from_classifier = _classifier_interrelation(teacher)
    if options.estimator == 'classifier':
        return CostMatrix(
            categories=(*_known_classes(teacher, config), BACKGROUND),
            interrelation=_as_stored(from_classifier),
            **record,
        )
    dataset = build_dataset(config, collect.split)
    plan = options.plan(
        len(from_classifier), num_features(teacher, collect.tensor)
    )
    statistics = collect_statistics(
        teacher,
        dataset,
        plan,
        collect,
        partial=partial,
        force=force,
        progress=progress,
    )
    categories = (*dataset.metainfo['classes'], BACKGROUND)
    seen = statistics.counts >= options.min_samples
    fallback = [categories[i] for i in (~seen).nonzero().flatten().tolist()]
    if fallback and dist.get_rank() == 0:
        print_log(
            f'mmwkd: {len(fallback)} categories have fewer than '
            f'{options.min_samples} samples; their relations are those of '
            f'the classifier weights: {", ".join(fallback)}',
            'current',
            level=30,
        )
    return CostMatrix(
        categories=categories,
        interrelation=_as_stored(
            interrelation_of(
                options.estimator, statistics, seen, from_classifier
            )
        ),
        options=dict(
            **_what_is_measured(collect),
            min_samples=options.min_samples,
            cap=plan.cap,
            projected_features=plan.projected_features,
            fallback=fallback,
        ),
        samples=statistics.counts.cpu().numpy(),
        **record,
    )


def interrelation_of(
    estimator: Estimator,
    statistics: ClassStatistics,
    seen: Tensor,
    fallback: Tensor,
) -> Tensor:
    """Interrelations from statistics, where there are some.

    Args:
        estimator: One of :data:`ESTIMATORS` but 'classifier'.
        statistics: What the estimator needs.
        seen: Which categories have enough samples, bool, of shape (K,).
        fallback: Interrelations for rows and columns of the others, of shape
            (K, K).

    Returns:
        Interrelations, of shape (K, K).

    Raises:
        ValueError: If fewer than two categories have enough samples.
    """
    found = seen.nonzero().flatten()  # (S,)
    if len(found) < 2:
        raise ValueError(
            f'{len(found)} categories have enough samples, two are needed: '
            'check the annotations, min_size and max_images'
        )
    means = statistics.means[found]
    if estimator == 'centroid':
        matrix = centroid_interrelation(means)
    elif estimator == 'centroid_kernel':
        matrix = centroid_kernel_interrelation(means)
    elif estimator == 'whitened_centroid':
        matrix = whitened_centroid_interrelation(means, statistics.scatter[0])
    elif estimator == 'covariance':
        matrix = covariance_interrelation(
            statistics.scatter[found],
            projected=statistics.plan.projected_features is not None,
        )
    elif estimator == 'confusion':
        matrix = confusion_interrelation(
            statistics.mean_probabilities()[found]
        )
    elif estimator == 'paired_cka':
        matrix = paired_cka_interrelation(
            [statistics.kept_samples(i) for i in found.tolist()]
        )
    else:
        raise ValueError(f'{estimator!r} is not estimated from statistics')
    result = fallback.to(matrix, copy=True)
    result[found[:, None], found] = matrix
    return result


def collect_confusion(
    config: Config,
    teacher: FrozenTeacher,
    collect: CollectOptions | None = None,
    *,
    progress: Callable[..., Iterable[Any]] | None = None,
) -> ClassStatistics:
    """Measure what a teacher confuses, on the validation split by default.

    Args:
        config: Config with the datasets.
        teacher: The teacher, on the device to run on.
        collect: What is measured, and on which boxes.
        progress: Wraps the batches to show progress, as ``tqdm`` does.

    Returns:
        Statistics with ``mean_probabilities()`` (K, K), row i for samples of
        category i, and ``means``, ``counts`` of the categories.
    """
    collect = collect or CollectOptions(split='val')
    plan = StatisticsPlan(
        num_categories=box_heads(teacher.detector)[-1].num_classes + 1,
        num_features=num_features(teacher, collect.tensor),
        confusion=True,
    )
    dataset = build_dataset(config, collect.split)
    return collect_statistics(
        teacher, dataset, plan, collect, progress=progress
    )


def measure_confusion(
    config: str | os.PathLike[str],
    checkpoint: str | None,
    matrix: CostMatrix,
    *,
    cfg_options: Mapping[str, Any] | None = None,
    device: str | None = None,
    progress: Callable[..., Iterable[Any]] | None = None,
) -> np.ndarray:
    """What a teacher predicts, on average, for the boxes of each category.

    Args:
        config: Config of a detector, or of a distiller, whose teacher is
            taken; its validation split is read.
        checkpoint: Weights of the detector; None for those that the
            distiller's config names.
        matrix: A cost matrix, whose categories the teacher must have.
        cfg_options: Changes to the config.
        device: Such as 'cuda:0'; None for a GPU where there is one.
        progress: Wraps the batches to show progress, as ``tqdm`` does.

    Returns:
        Mean softmax of each category's boxes, of shape (K, K), background
        last; a row of 0 where there are no boxes.

    Raises:
        ValueError: If the teacher has other classes, or cannot be run.
    """
    loaded, _, teacher = _load(config, checkpoint, cfg_options, device)
    if teacher.classes is not None:
        matrix.check_categories(teacher.classes)
    statistics = collect_confusion(loaded, teacher, progress=progress)
    return statistics.mean_probabilities().cpu().numpy()


def _load(
    config: str | os.PathLike[str],
    checkpoint: str | None,
    cfg_options: Mapping[str, Any] | None,
    device: str | None,
) -> tuple[Config, dict[str, Any], FrozenTeacher]:
    """Config, options of the teacher in it, and the teacher on its device."""
    if not Path(config).is_file():
        raise FileNotFoundError(f'config {config} does not exist')
    loaded = Config.fromfile(config)
    loaded.merge_from_dict(dict(cfg_options or {}))
    device = _join_ranks(device)
    source = teacher_source(loaded, checkpoint, name=str(config))
    teacher = build_teacher(source)
    teacher.detector.to(device)
    return loaded, source, teacher


def teacher_source(
    config: Config, checkpoint: str | None, *, name: str
) -> dict[str, Any]:
    """The detector to study, as :func:`build_teacher` takes it.

    Args:
        config: Config of a detector, or of a distiller, whose teacher is
            taken.
        checkpoint: Weights; None for those of the distiller's teacher.
        name: Name of the config, for messages.

    Returns:
        Options of a teacher.

    Raises:
        ValueError: If there is no model, or no checkpoint.
    """
    if 'model' not in config:
        raise ValueError(f'{name} has no model')
    if is_distiller(config.model):
        source = copy.deepcopy(dict(config.model.teacher))
    else:
        model = copy.deepcopy(config.model)
        if 'data_preprocessor' in config:
            model.setdefault('data_preprocessor', config.data_preprocessor)
        source = dict(config=model)
    if checkpoint is not None:
        source['checkpoint'] = checkpoint
        source.pop('allow_random', None)
    if source.get('checkpoint') is None:
        raise ValueError(
            f'{name} names no checkpoint of a teacher: pass one behind it'
        )
    return source


def _name_of(source: Mapping[str, Any], name: str) -> str:
    config = source['config']
    return config if isinstance(config, str) else name


def _what_is_measured(collect: CollectOptions) -> dict[str, Any]:
    """Options without those that cannot change a result."""
    options = dataclasses.asdict(collect)
    del options['batch_size'], options['num_workers']
    return options


def _classifier_interrelation(teacher: FrozenTeacher) -> Tensor:
    check_roi_head('teacher', teacher.detector)
    head = box_heads(teacher.detector)[-1]
    rows = classifier_rows(head)
    if rows is None:
        raise ValueError(
            f"the teacher's {type(head).__name__} has no linear fc_cls, so "
            'relations of its categories cannot be estimated'
        )
    return classifier_interrelation(rows)


def _known_classes(teacher: FrozenTeacher, config: Config) -> tuple[str, ...]:
    """Class names without reading images; of the checkpoint if it has them."""
    known = box_heads(teacher.detector)[-1].num_classes
    classes = teacher.classes
    if classes is None:
        classes = tuple(build_dataset(config, 'train').metainfo['classes'])
    if len(classes) != known:
        raise ValueError(
            f'the teacher has {known} classes, but its class list has '
            f'{len(classes)} names'
        )
    return classes


def _as_stored(interrelation: Tensor) -> np.ndarray:
    return interrelation.float().cpu().numpy()


def _join_ranks(device: str | None) -> str:
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
        device = f'cuda:{local_rank()}'
        torch.cuda.set_device(device)
    return device or 'cpu'
