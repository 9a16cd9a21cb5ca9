"""Torchvision's operators stand in for mmcv's with the same results."""

import importlib
import subprocess
import sys
import types
from pathlib import Path

import mmcv.ops
import pytest
import torch
from mmcv.ops.nms import ext_module
from torch.testing import assert_close

FOLDER = Path(__file__).resolve().parents[1] / 'benchmarks'


def vision_roi_align(
    input,  # noqa: A002
    boxes,
    output_size,
    spatial_scale=1.0,
    sampling_ratio=-1,
    aligned=False,
):
    """What torchvision documents, one sample at a time."""
    height, width = output_size
    output = []
    for index, *corners in boxes.tolist():
        maps = input[int(index)]
        x1, y1, x2, y2 = (
            corner * spatial_scale - 0.5 * aligned for corner in corners
        )
        sides = [x2 - x1, y2 - y1]
        if not aligned:
            sides = [max(side, 1.0) for side in sides]
        bins = sides[0] / width, sides[1] / height
        counts = [
            sampling_ratio
            if sampling_ratio > 0
            else int(torch.tensor(each).ceil())
            for each in bins
        ]
        cells = torch.zeros(len(maps), height, width)
        for row in range(height):
            for col in range(width):
                samples = [
                    bilinear(
                        maps,
                        y1 + bins[1] * (row + (i + 0.5) / counts[1]),
                        x1 + bins[0] * (col + (j + 0.5) / counts[0]),
                    )
                    for i in range(counts[1])
                    for j in range(counts[0])
                ]
                cells[:, row, col] = sum(samples) / max(1, len(samples))
        output.append(cells)
    return torch.stack(output)


def bilinear(maps, y, x):
    height, width = maps.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return torch.zeros(len(maps))
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    below, beside = y - top, x - left
    return (1 - below) * (
        (1 - beside) * maps[:, top, left] + beside * maps[:, top, right]
    ) + below * (
        (1 - beside) * maps[:, bottom, left] + beside * maps[:, bottom, right]
    )


def vision_nms(boxes, scores, iou_threshold):
    kept = []
    for index in scores.argsort(descending=True).tolist():
        if all(
            iou(boxes[index], boxes[other]) <= iou_threshold for other in kept
        ):
            kept.append(index)
    return torch.tensor(kept)


def iou(first, second):
    sides = torch.minimum(first[2:], second[2:]) - torch.maximum(
        first[:2], second[:2]
    )
    shared = sides.clamp(min=0).prod()
    areas = [(box[2:] - box[:2]).prod() for box in (first, second)]
    return shared / (sum(areas) - shared)


@pytest.fixture
def stand_in(monkeypatch):
    vision = types.ModuleType('torchvision')
    vision.ops = types.ModuleType('torchvision.ops')
    vision.ops.roi_align, vision.ops.nms = vision_roi_align, vision_nms
    monkeypatch.setitem(sys.modules, 'torchvision', vision)
    monkeypatch.setitem(sys.modules, 'torchvision.ops', vision.ops)
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module('mmcv_stand_in')


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('sampling_ratio', [0, 2])
@pytest.mark.parametrize('scale', [0.25, 1.0])
def test_roi_align_is_that_of_mmcv(stand_in, aligned, sampling_ratio, scale):
    feats = torch.randn(2, 3, 12, 16)
    corners = torch.rand(4, 4) * torch.tensor([16, 12, 16, 12]) / scale
    low = torch.minimum(corners[:, :2], corners[:, 2:]) - 2
    high = torch.maximum(corners[:, :2], corners[:, 2:])
    rois = torch.cat([torch.tensor([[1.0], [0], [1], [0]]), low, high], dim=1)
    options = (rois, (2, 3), scale, sampling_ratio, 'avg', aligned)
    assert_close(
        stand_in.roi_align(feats, *options),
        mmcv.ops.roi_align(feats, *options),
    )


def test_nms_is_that_of_mmcv(stand_in):
    corners = 20 * torch.rand(40, 2)
    boxes = torch.cat([corners, corners + 1 + 9 * torch.rand(40, 2)], dim=1)
    scores = torch.rand(40)
    kept = stand_in.Operators.nms(boxes, scores, iou_threshold=0.3, offset=0)
    assert 1 < len(kept) < 40
    assert_close(
        kept, ext_module.nms(boxes, scores, iou_threshold=0.3, offset=0)
    )


def test_what_torchvision_lacks_is_refused(stand_in):
    boxes = torch.rand(3, 4)
    with pytest.raises(NotImplementedError, match='no compiled softnms'):
        stand_in.Operators('mmcv._ext').softnms(boxes)
    with pytest.raises(NotImplementedError, match='offset, got 1'):
        stand_in.Operators.nms(boxes, boxes[:, 0], iou_threshold=1, offset=1)
    with pytest.raises(NotImplementedError, match="got 'max'"):
        stand_in.roi_align(boxes, boxes, (2, 2), pool_mode='max')


def test_an_mmcv_without_operators_gets_them(stand_in):
    assert stand_in.install() is False  # this one has its own
    script = """
import sys, types
sys.modules['mmcv._ext'] = None
vision = types.ModuleType('torchvision.ops')
vision.nms = lambda boxes, scores, threshold: scores.argsort(descending=True)
vision.roi_align = lambda feats, rois, size, **options: (size, options)
sys.modules['torchvision'] = types.ModuleType('torchvision')
sys.modules['torchvision.ops'] = vision
import mmcv_stand_in
assert mmcv_stand_in.install() is True
import torch
from mmcv.ops import RoIAlign, nms
boxes, scores = torch.rand(3, 4), torch.tensor([0.1, 0.3, 0.2])
assert nms(boxes, scores, 0.5)[1].tolist() == [1, 2, 0]
assert RoIAlign(7, 0.5, 2)(torch.rand(1, 1, 4, 4), torch.rand(1, 5)) == (
    (7, 7), dict(spatial_scale=0.5, sampling_ratio=2, aligned=True)
)
"""
    subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', script], cwd=FOLDER, check=True
    )
