"""What ends a training step with a sentence that says why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmdet.models.detectors import BaseDetector
from mmdet.structures.bbox import get_box_tensor
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


def refuse_broken_boxes(data_samples: Sequence[Any]) -> None:
    """Name the image of a ground truth that is not finite."""
    for sample in data_samples:
        boxes = get_box_tensor(sample.gt_instances.bboxes)
        if not boxes.isfinite().all():
            raise ValueError(
                f'a box in the annotations of {sample.metainfo["img_path"]} '
                'is not finite; correct or remove it'
            )


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


def refuse_non_finite(
    teacher: TeacherPass, data_samples: Sequence[Any]
) -> None:
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
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            files = [
                str(sample.metainfo.get('img_path', 'unknown file'))
                for sample in data_samples
            ]
            raise FloatingPointError(
                f"the teacher's {name} is not finite on the images "
                f'{", ".join(files)}; check the checkpoint, its '
                'normalisation, and whether it fits half precision'
            )
