"""Measure checkpoints as plain detectors: accuracy, size, cost and speed.

The distilled student is measured like the others, in the config of the
student that was trained alone: nothing of the distillation is left in it.
"""

from __future__ import annotations

import contextlib
import io
import logging
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmengine.analysis import get_model_complexity_info
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, load_checkpoint
from numpy.typing import NDArray

from studies.grid.accuracy import Accuracy
from studies.grid.scalars import accuracy_of

# CocoMetric rounds to 3 digits, and a tie may round either way.
AP_TOLERANCE = 0.1 + 1e-6  # percent


class Boxes(NamedTuple):
    """Boxes of one image; ground truth has scores of 1."""

    corners: NDArray[np.float32]  # (n, 4): x1, y1, x2, y2 in pixels
    labels: NDArray[np.int64]  # (n,): index of the category
    scores: NDArray[np.float32]  # (n,)


class Evaluation(NamedTuple):
    """What a detector finds on the validation split."""

    accuracy: Accuracy
    detections: Mapping[int, Boxes]  # by image id


def load_detector(config: Config, checkpoint: Path) -> BaseDetector:
    """Build a config's detector and load a checkpoint, key by key.

    Raises:
        RuntimeError: If a key is missing, unexpected or of another shape.
    """
    init_default_scope('mmdet')
    with quiet():
        detector = MODELS.build(config.model)
        load_checkpoint(
            detector, str(checkpoint), map_location='cpu', strict=True
        )
    return detector.eval()


def evaluate(
    detector: BaseDetector,
    config: Config,
    on_batch: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Score a detector with the config's own loader and evaluator.

    Args:
        detector: From :func:`load_detector`.
        config: Its config.
        on_batch: Called with the number of batches done and their total.
    """
    detections = {}
    with quiet():
        loader = Runner.build_dataloader(config.val_dataloader)
        evaluator = Evaluator(config.val_evaluator)
        evaluator.dataset_meta = loader.dataset.metainfo
        with torch.no_grad():
            for done, batch in enumerate(loader, start=1):
                samples = detector.val_step(batch)
                evaluator.process(samples, batch)
                for sample in samples:
                    detections[sample.img_id] = _boxes(sample.pred_instances)
                on_batch(done, len(loader))
        metrics = evaluator.evaluate(len(loader.dataset))
    return Evaluation(accuracy_of(metrics), detections)


def check_promise(measured: float, in_training: float, title: str) -> None:
    """Check that a checkpoint scores as it did in its training.

    Args:
        measured: Box AP of the checkpoint in a plain detector, in percent.
        in_training: Box AP of the last validation of the training.
        title: What the model is called.

    Raises:
        RuntimeError: If the two differ by more than rounding does.
    """
    if abs(measured - in_training) > AP_TOLERANCE:
        raise RuntimeError(
            f'{title}: the checkpoint has {measured:.1f} box AP as a plain '
            f'detector, but {in_training:.1f} in its last validation: it is '
            'not the detector that was trained'
        )


def count_gflops(
    detector: BaseDetector, config: Config, *, num_images: int = 4
) -> float | None:
    """Giga multiply-adds of one image, mean over the first ones.

    A two-stage detector costs more where it proposes more boxes, hence the
    mean. Operators that mmengine does not know, such as RoIAlign and NMS,
    are not counted.

    Returns:
        The mean, or None if mmengine cannot trace the detector.
    """
    counts = []
    forward = detector.forward
    with quiet():
        for batch in _single_images(config, num_images):
            data = detector.data_preprocessor(batch)
            detector.forward = partial(
                forward, data_samples=data['data_samples']
            )
            try:
                counts.append(
                    get_model_complexity_info(
                        detector,
                        inputs=data['inputs'],
                        show_table=False,
                        show_arch=False,
                    )['flops']
                )
            # Tracing fails in as many ways as there are detectors.
            except Exception:
                return None
            finally:
                detector.forward = forward
    return statistics.mean(counts) / 1e9


def time_detectors(
    detectors: Sequence[BaseDetector],
    config: Config,
    *,
    num_images: int = 60,
    warm_up: int = 5,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> list[float]:
    """Images per second of detectors that take turns on the same images.

    In turns, so that a busy moment of the machine hits all of them.

    Args:
        detectors: From :func:`load_detector`.
        config: Where the images are.
        num_images: Images that count.
        warm_up: Images before them that do not.
        on_image: Called with the number of images done and their total.

    Returns:
        For each detector 1 / median seconds from a loaded image to its boxes,
        one image at a time.
    """
    seconds: list[list[float]] = [[] for _ in detectors]
    total = warm_up + num_images
    with quiet(), torch.no_grad():
        for done, batch in enumerate(_single_images(config, total), start=1):
            for times, detector in zip(seconds, detectors, strict=True):
                started = time.perf_counter()
                detector.test_step(batch)
                times.append(time.perf_counter() - started)
            on_image(done, total)
    # A tiny validation split has fewer images than asked for.
    return [1 / statistics.median(t[warm_up:] or t) for t in seconds]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence mmengine's log and what pycocotools prints."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _single_images(config: Config, num_images: int) -> Iterator[Any]:
    loader = Runner.build_dataloader(
        {**config.val_dataloader, 'batch_size': 1}
    )
    return islice(loader, num_images)


def _boxes(instances: Any) -> Boxes:
    return Boxes(
        instances.bboxes.numpy(),
        instances.labels.numpy(),
        instances.scores.numpy(),
    )
