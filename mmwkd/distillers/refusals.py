"""What ends a training step with a sentence that says why."""

import logging
import sys
from collections.abc import Sequence
from typing import Any

from mmdet.structures.bbox import get_box_tensor
from mmengine.logging import print_log

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
    """Say which image has a ground truth that is not finite; None for none.

    It explains errors, so it raises none, whatever the samples are.
    """
    for sample in data_samples if isinstance(data_samples, Sequence) else ():
        boxes = getattr(getattr(sample, 'gt_instances', None), 'bboxes', None)
        if boxes is not None and not get_box_tensor(boxes).isfinite().all():
            return (
                f'a box in the annotations of the image {_file_of(sample)} '
                'is not finite; correct or remove it'
            )
    return None


def explain(error: BaseException, data_samples: Any) -> None:
    """Add to an error of a training pass what is known of its cause."""
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


def files_of(data_samples: Any) -> list[str]:
    """Names of the files of a batch, as far as its samples tell them."""
    if not isinstance(data_samples, Sequence):
        return ['of this batch']
    return [_file_of(sample) for sample in data_samples]


def _file_of(sample: Any) -> str:
    metainfo = getattr(sample, 'metainfo', {})
    return str(metainfo.get('img_path', 'of unknown file'))
