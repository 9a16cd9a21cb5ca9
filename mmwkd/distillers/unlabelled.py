"""Split a batch into images with labels and images without.

Shapes: N images, B boxes.
"""

from collections.abc import Sequence
from itertools import compress
from typing import NamedTuple

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.models.roi_heads import DynamicRoIHead
from mmdet.structures import DetDataSample, SampleList
from mmengine.structures import InstanceData
from torch import Tensor


class Images(NamedTuple):
    """Some images of a batch."""

    inputs: Tensor  # (N, 3, H, W)
    data_samples: SampleList


def by_labels(
    inputs: Tensor, data_samples: SampleList
) -> tuple[Images, Images | None]:
    """Split a batch into images with labels and images without.

    An image is unlabelled if its pipeline loads no boxes: mmdet then packs
    ground truth without ``bboxes``. One whose annotations list no box is
    labelled, as one that shows nothing.

    Returns:
        The images with labels, and those without, which are given empty
        ground truth; None if all have labels.

    Raises:
        ValueError: If no image has labels.
    """
    # what else may be handed in is for the student to judge
    samples = data_samples if isinstance(data_samples, Sequence) else ()
    labelled = [has_labels(sample) for sample in samples]
    if all(labelled):
        return Images(inputs, data_samples), None
    if not any(labelled):
        raise ValueError(
            f'none of the {len(labelled)} images of the batch has labels, '
            'but each batch needs one that has, on each rank: set '
            "train_dataloader.batch_sampler=None and sampler=dict(type='"
            "MultiSourceSampler', batch_size=..., source_ratio=[...])"
        )
    mask = torch.tensor(labelled)
    return (
        Images(inputs[mask], list(compress(data_samples, labelled))),
        Images(
            inputs[~mask],
            [
                _with_empty_labels(sample, inputs)
                for sample in compress(data_samples, ~mask)
            ],
        ),
    )


def check_learns_without_labels(student: BaseDetector) -> None:
    """Refuse a student whose training pass needs labels, or learns of none.

    Raises:
        ValueError: If it predicts masks, or adapts its assigner to the boxes
            that it finds, as a Dynamic R-CNN does.
    """
    roi_head = getattr(student, 'roi_head', None)
    masks = student.with_mask
    if masks or isinstance(roi_head, DynamicRoIHead):
        what = 'that predicts masks' if masks else 'with a DynamicRoIHead'
        raise ValueError(
            f'a student {what} cannot be distilled on images without labels: '
            'leave them out of train_dataloader.dataset'
        )


def has_labels(sample: DetDataSample) -> bool:
    """Whether the ground truth of an image was loaded."""
    instances = getattr(sample, 'gt_instances', None)
    return not isinstance(instances, InstanceData) or 'bboxes' in instances


def _with_empty_labels(sample: DetDataSample, inputs: Tensor) -> DetDataSample:
    sample = sample.new()  # that of the batch stays as it is
    for name in ('gt_instances', 'ignored_instances'):
        setattr(
            sample,
            name,
            InstanceData(
                bboxes=inputs.new_zeros((0, 4), dtype=torch.float32),
                labels=inputs.new_zeros(0, dtype=torch.long),
            ),
        )
    return sample
