"""Turn a batch prepared for the student into one prepared for the teacher.

Shapes: N images of (C, H, W).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.model import ImgDataPreprocessor
from torch import Tensor


def image_shapes(
    inputs: Tensor, data_samples: Sequence[DetDataSample] | Mapping[str, Any]
) -> list[tuple[int, int]]:
    """Heights and widths of the images of a batch, without their padding.

    A sample without ``img_shape`` is all image. In a mapping, as mmyolo's
    collate functions make, ``img_metas`` are what has the shapes.
    """
    if isinstance(data_samples, Mapping):
        metas = data_samples.get('img_metas') or [{}] * len(inputs)
    else:
        metas = [sample.metainfo for sample in data_samples]
    height, width = inputs.shape[-2:]
    shapes = [tuple(meta.get('img_shape', (height, width))) for meta in metas]
    return [(shape[0], shape[1]) for shape in shapes]


def content_sizes(
    inputs: Tensor, data_samples: Sequence[DetDataSample] | Mapping[str, Any]
) -> Tensor | None:
    """The same as a tensor (N, 2); None if no image has padding."""
    shapes = image_shapes(inputs, data_samples)
    if all(shape == inputs.shape[-2:] for shape in shapes):
        return None
    return sizes_of(shapes, inputs)


def sizes_of(shapes: Sequence[tuple[int, int]], like: Tensor) -> Tensor:
    """Sizes as a tensor (N, 2), made on the device of another tensor.

    There is no copy from the host, which would stop the device.
    """
    sizes = like.new_empty((len(shapes), 2), dtype=torch.float32)
    for row, shape in zip(sizes, shapes, strict=True):
        for entry, side in zip(row, shape, strict=True):
            entry.fill_(side)
    return sizes


class PixelAdapter:
    """Map the student's normalised batch to the teacher's.

    The teacher sees what its own preprocessor would have made of the same
    images: its mean, std, channel order, padding value and size divisor.
    Values agree to float32 rounding. The images are not read again, so that
    random augmentation is the same for both.

    Raises:
        ValueError: If a preprocessor is no :class:`ImgDataPreprocessor`,
            whose normalisation could be read.
    """

    def __init__(
        self, student: ImgDataPreprocessor, teacher: ImgDataPreprocessor
    ) -> None:
        for role, preprocessor in (('student', student), ('teacher', teacher)):
            if not isinstance(preprocessor, ImgDataPreprocessor):
                raise ValueError(
                    f'the {role} has the data preprocessor '
                    f'{type(preprocessor).__name__}; images can be shared '
                    'only between kinds of ImgDataPreprocessor, whose '
                    'normalisation is known'
                )
        mean_s, std_s = _normalisation(student)
        mean_t, std_t = _normalisation(teacher)
        self._flip = student._channel_conversion != teacher._channel_conversion
        if self._flip:
            mean_s, std_s = mean_s.flip(0), std_s.flip(0)
        # teacher = student * scale + shift, in the teacher's channel order
        scale, shift = torch.broadcast_tensors(
            std_s / std_t, (mean_s - mean_t) / std_t
        )
        self._affine = torch.stack([scale, shift])
        self._placed = self._affine  # as the images need it
        self._same_values = not (
            self._flip or (scale != 1).any() or shift.any()
        )
        self._same_padding = student.pad_value == teacher.pad_value
        self._pad_value = teacher.pad_value
        self._divisors = (student.pad_size_divisor, teacher.pad_size_divisor)

    def __call__(
        self,
        inputs: Tensor,
        data_samples: Sequence[DetDataSample] | Mapping[str, Any],
    ) -> Tensor:
        """Adapt a batch (N, C, H, W), which becomes (N, C, H', W').

        Where nothing differs, it is returned as it is.
        """
        shapes = image_shapes(inputs, data_samples)
        height, width = self._padded_size(inputs, shapes)
        if (
            self._same_values
            and self._same_padding
            and (height, width) == inputs.shape[-2:]
        ):
            return inputs

        adapted = inputs.new_full(
            (*inputs.shape[:2], height, width), self._pad_value
        )
        if (self._placed.device, self._placed.dtype) != (
            inputs.device,
            inputs.dtype,
        ):
            # once: a copy from the host in every step would stop the device
            self._placed = self._affine.to(inputs)
        scale, shift = self._placed[..., None, None]
        for target, image, (h, w) in zip(adapted, inputs, shapes, strict=True):
            image = image[:, :h, :w]
            if self._flip:
                image = image.flip(0)
            if not self._same_values:
                image = image * scale + shift
            target[:, :h, :w] = image
        return adapted

    def _padded_size(
        self, inputs: Tensor, shapes: Sequence[tuple[int, int]]
    ) -> tuple[int, int]:
        student_divisor, divisor = self._divisors
        if student_divisor == divisor:
            height, width = inputs.shape[-2:]
            return height, width
        height, width = (
            math.ceil(max(side) / divisor) * divisor
            for side in zip(*shapes, strict=True)
        )
        return height, width


def _normalisation(preprocessor: ImgDataPreprocessor) -> tuple[Tensor, Tensor]:
    """Mean and std, one for all channels or one each; (0, 1) without."""
    if not preprocessor._enable_normalize:
        return torch.zeros(1).double(), torch.ones(1).double()
    return (
        preprocessor.mean.flatten().cpu().double(),
        preprocessor.std.flatten().cpu().double(),
    )
