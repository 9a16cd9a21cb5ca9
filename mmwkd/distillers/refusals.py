"""What ends a training step with a sentence that says why."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any

from mmdet.models.detectors import BaseDetector
from mmdet.structures.bbox import get_box_tensor
from mmengine.logging import print_log
from torch import Tensor

from mmwkd.distillers.capture import TrainingPass
from mmwkd.distillers.teacher import TeacherPass


def check_batch(
    num_images: int, student: TrainingPass, teacher: TeacherPass
) -> None:
    """Refuse branches that turn an image into several: RoIs name images."""
    for role, feats in (
        ('student', student.neck_feats),
        ('teacher', teacher.neck_feats),
    ):
        if len(feats[0]) != num_images:
            raise ValueError(
                f'the {role} makes {len(feats[0])} feature maps of a batch of '
                f'{num_images} images; detectors with several branches '
                'cannot be distilled'
            )


def broken_boxes(data_samples: Any) -> str | None:
    """Say which image has a ground truth that is not finite.

    It explains errors, so it raises none, whatever the samples are.

    Args:
        data_samples: Annotations of a batch.

    Returns:
        A sentence; None if nothing is known to be wrong.
    """
    for sample in data_samples if isinstance(data_samples, Sequence) else ():
        boxes = getattr(getattr(sample, 'gt_instances', None), 'bboxes', None)
        if boxes is not None and not get_box_tensor(boxes).isfinite().all():
            return (
                f'a box in the annotations of {_file_of(sample)} is not '
                'finite; correct or remove it'
            )
    return None


def explain(error: BaseException, data_samples: Any) -> None:
    """Add to an error of a training pass what is known of its cause.

    Args:
        error: The error, which goes on as it is.
        data_samples: Annotations of the batch.
    """
    try:
        sentence = broken_boxes(data_samples)
    except Exception:  # a device that ran out of memory, or was lost
        return
    if sentence is None:
        return
    if sys.version_info >= (3, 11):
        error.add_note(f'mmwkd: {sentence}')
    else:
        print_log(f'mmwkd: {sentence}', 'current', level=logging.ERROR)


def _file_of(sample: Any) -> str:
    metainfo = getattr(sample, 'metainfo', {})
    return str(metainfo.get('img_path', 'an image of unknown file'))


def refuse_shards(student: BaseDetector) -> None:
    """Refuse FSDP before it trains an epoch that it could not save."""
    parameters = list(student.parameters())
    # in its forward pass FSDP puts views of a flat parameter in their place
    if not parameters or not all(each.is_leaf for each in parameters):
        raise ValueError(
            'a DetectorDistiller cannot be trained with FSDP: it saves the '
            "plain student's keys, and FSDP wants those of the wrapped "
            'module; use DDP (MMDistributedDataParallel) instead'
        )


def refuse_non_finite(teacher: TeacherPass, data_samples: Any) -> None:
    """Stop if it is the teacher's doing; the student's overflow is not."""
    tensors = {
        f'neck feature map {level}': feat
        for level, feat in enumerate(teacher.neck_feats)
    }
    for index, stage in enumerate(teacher.stages):
        tensors[f'RoI feature maps of stage {index}'] = stage.feats
        if stage.logits is not None:
            tensors[f'class logits of stage {index}'] = stage.logits
        if isinstance(stage.deltas, Tensor):  # SABL predicts buckets
            tensors[f'box deltas of stage {index}'] = stage.deltas
    for level, scores in enumerate(teacher.dense_scores):
        tensors[f'class scores of level {level}'] = scores
    if teacher.predictions is not None:
        tensors['predicted boxes'] = teacher.predictions.boxes
        for level, scores in enumerate(teacher.predictions.scores):
            tensors[f'class scores of level {level}'] = scores
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            files = (
                [_file_of(sample) for sample in data_samples]
                if isinstance(data_samples, Sequence)
                else ['of this batch']
            )
            raise FloatingPointError(
                f"the teacher's {name} is not finite on the images "
                f'{", ".join(files)}; check the checkpoint, its '
                'normalisation, and whether it fits half precision'
            )
