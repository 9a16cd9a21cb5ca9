"""Torchvision's operators behind the names of mmcv's, where mmcv has none.

mmcv-lite has no compiled operators, and those of mmcv have to be compiled for
the torch that is there. Faster R-CNN needs two of them, which torchvision has
as well.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from torch import Tensor


def install() -> bool:
    """Make mmcv's operators importable; before anything of mmdet is.

    Returns:
        Whether mmcv lacked them.
    """
    try:
        import mmcv._ext  # noqa: F401
    except ImportError:
        sys.modules['mmcv._ext'] = Operators('mmcv._ext')
        # a module whose name in its package is that of its function
        importlib.import_module('mmcv.ops.roi_align').roi_align = roi_align
        return True
    return False


class Operators(ModuleType):
    """In place of ``mmcv._ext``: what nothing stands in for says so."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith('__'):
            raise AttributeError(name)

        def missing(*args: Any, **kwargs: Any) -> None:
            raise NotImplementedError(
                f'mmcv has no compiled {name} here, and nothing stands in for '
                'it: install an mmcv with operators'
            )

        return missing

    @staticmethod
    def nms(
        boxes: Tensor, scores: Tensor, *, iou_threshold: float, offset: int
    ) -> Tensor:
        """Indices of the boxes that are kept, by falling score."""
        from torchvision.ops import nms

        if offset:
            raise NotImplementedError(
                f'torchvision has no nms with an offset, got {offset}'
            )
        return nms(boxes, scores, iou_threshold)


def roi_align(
    feats: Tensor,
    rois: Tensor,
    output_size: tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    pool_mode: str = 'avg',
    aligned: bool = True,
) -> Tensor:
    """As ``mmcv.ops.roi_align``, on maps (N, D, H, W) and RoIs (R, 5)."""
    from torchvision.ops import roi_align

    if pool_mode != 'avg':
        raise NotImplementedError(
            f"torchvision averages, pool_mode must be 'avg', got {pool_mode!r}"
        )
    return roi_align(
        feats,
        rois,
        output_size,
        spatial_scale=spatial_scale,
        sampling_ratio=sampling_ratio,
        aligned=aligned,
    )
