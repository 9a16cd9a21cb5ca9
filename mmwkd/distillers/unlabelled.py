"""Split a batch into images with labels and images without.

Shapes: N images, B boxes.
"""

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any, NamedTuple

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.models.losses import GHMC, GHMR
from mmdet.models.roi_heads import DynamicRoIHead
from mmdet.structures import DetDataSample, SampleList
from mmengine.structures import InstanceData
from torch import Tensor, nn


class Images(NamedTuple):
    """Some images of a batch."""

    inputs: Tensor  # (N, 3, H, W)
    data_samples: SampleList


def by_labels(
    inputs: Tensor, data_samples: SampleList
) -> tuple[Images, Images | None]:
    """Split a batch into images with labels and images without.

    An image is unlabelled if its pipeline loads no annotations: mmdet then
    packs ground truth without fields. One whose annotations list no box is
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
            f'none of the {len(labelled)} images of the batch has labels: '
            'has its pipeline LoadAnnotations? Where images without labels '
            'are meant, each batch needs one that has, on each rank: set '
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


class LabelCheck:
    """Refuses images without labels for a student that cannot take them.

    A forward pre-hook of the data preprocessor, since some pad masks. A
    student cannot take them that learns masks, or keeps statistics of the
    boxes that it finds, as a Dynamic R-CNN and a GHM loss do.

    Args:
        student: The student, as it was built.
    """

    def __init__(self, student: BaseDetector) -> None:
        self._what = 'that learns masks' if student.with_mask else None
        for module in student.modules():
            if isinstance(module, DynamicRoIHead):
                self._what = 'with a DynamicRoIHead'
            if isinstance(module, GHMC | GHMR) and module.momentum:
                self._what = 'whose GHM loss has a momentum'

    def __call__(self, preprocessor: nn.Module, args: tuple[Any, ...]) -> None:
        """Look at a batch of training, if some of its images have labels."""
        data = args[0] if args else None
        if not (preprocessor.training and isinstance(data, Mapping)):
            return
        samples = data.get('data_samples')
        if not isinstance(samples, Sequence):
            return
        labelled = [each for each in samples if has_labels(each)]
        if len(labelled) in (0, len(samples)):
            return
        what = self._what
        truths = (getattr(each, 'gt_instances', None) for each in labelled)
        # an RTMDet-Ins does not say that it has masks
        if what is None and any(hasattr(each, 'masks') for each in truths):
            what = 'that learns masks'
        if what is not None:
            raise ValueError(
                f'a student {what} cannot be distilled on images without '
                'labels: leave them out of train_dataloader.dataset'
            )


def has_labels(sample: DetDataSample) -> bool:
    """Whether the ground truth of an image was loaded."""
    instances = getattr(sample, 'gt_instances', None)
    return not isinstance(instances, InstanceData) or any(instances.keys())


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
