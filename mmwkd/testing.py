"""Tiny detectors and batches, for our tests and for those of extenders."""

import copy
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.hub import get_config
from mmengine.structures import InstanceData
from torch import Tensor


def tiny_faster_rcnn(
    *,
    num_classes: int = 3,
    base_channels: int = 8,
    neck_channels: int = 16,
    num_outs: int = 5,
    num_rois: int = 32,
    **data_preprocessor: Any,
) -> ConfigDict:
    """Config of a Faster R-CNN that trains a step in a blink on a CPU.

    Args:
        num_classes: Foreground classes.
        base_channels: Channels of the ResNet-18's first stage.
        neck_channels: Channels of the FPN.
        num_outs: Levels of the FPN.
        num_rois: RoIs sampled for each image.
        **data_preprocessor: Options of the ``DetDataPreprocessor`` that
            differ from ImageNet RGB normalisation padded to 32.

    Returns:
        A model config.
    """
    model = _shipped('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    model.data_preprocessor.update(data_preprocessor)
    _narrow(model, base_channels, neck_channels)
    model.backbone.update(depth=18, frozen_stages=-1, norm_eval=False)
    model.neck.num_outs = num_outs
    strides = [4 * 2**i for i in range(num_outs)]
    model.rpn_head.update(
        in_channels=neck_channels, feat_channels=neck_channels
    )
    model.rpn_head.anchor_generator.update(scales=[4], strides=strides)
    model.roi_head.bbox_roi_extractor.update(
        out_channels=neck_channels,
        finest_scale=16,
        featmap_strides=strides[:4],
    )
    model.roi_head.bbox_head.update(
        in_channels=neck_channels,
        fc_out_channels=32,
        num_classes=num_classes,
    )
    model.train_cfg.rpn.sampler.num = 64
    model.train_cfg.rcnn.sampler.num = num_rois
    for proposals in (model.train_cfg.rpn_proposal, model.test_cfg.rpn):
        proposals.update(nms_pre=100, max_per_img=64)
    model.test_cfg.rcnn.max_per_img = 20
    return model


@cache
def _read_shipped(name: str) -> ConfigDict:
    return get_config(f'mmdet::{name}').model


def _shipped(name: str) -> ConfigDict:
    """A copy of a model config that mmdet ships."""
    return copy.deepcopy(_read_shipped(name))


def _narrow(model: ConfigDict, base_channels: int, neck_channels: int) -> None:
    """Make a ResNet with basic blocks and its FPN narrow."""
    model.backbone.update(base_channels=base_channels, init_cfg=None)
    model.neck.update(
        in_channels=[base_channels * 2**i for i in range(4)],
        out_channels=neck_channels,
    )


def tiny_retinanet(
    *,
    num_classes: int = 3,
    base_channels: int = 8,
    neck_channels: int = 16,
    **bbox_head: Any,
) -> ConfigDict:
    """Config of a RetinaNet that trains a step in a blink on a CPU.

    Args:
        num_classes: Foreground classes.
        base_channels: Channels of the ResNet-18's first stage.
        neck_channels: Channels of the FPN.
        **bbox_head: Further options of the head.

    Returns:
        A model config.
    """
    model = _shipped('retinanet/retinanet_r18_fpn_1x_coco.py')
    _narrow(model, base_channels, neck_channels)
    model.bbox_head.update(
        in_channels=neck_channels,
        feat_channels=neck_channels,
        stacked_convs=1,
        num_classes=num_classes,
    )
    model.bbox_head.update(bbox_head)
    return model


def tiny_batch(
    sizes: Sequence[tuple[int, int]] = ((64, 96), (96, 64)),
    *,
    boxes_per_image: int = 2,
    num_classes: int = 3,
    seed: int = 0,
) -> dict[str, Any]:
    """Unprocessed batch as a dataloader of mmdet yields it.

    Args:
        sizes: Height and width of each image, in pixels.
        boxes_per_image: Ground truths of each image; 0 for none.
        num_classes: Foreground classes, from which labels are drawn.
        seed: Seed of pixels, boxes and labels.

    Returns:
        ``inputs``, a list of uint8 images (3, h, w), and ``data_samples``.
    """
    generator = torch.Generator().manual_seed(seed)
    inputs: list[Tensor] = []
    samples: list[DetDataSample] = []
    for index, (height, width) in enumerate(sizes):
        inputs.append(
            torch.randint(
                256, (3, height, width), generator=generator, dtype=torch.uint8
            )
        )
        scale = torch.tensor([width, height, width, height])
        corners = torch.rand(boxes_per_image, 4, generator=generator)
        corners = 0.5 * corners + torch.tensor([0.0, 0.0, 0.5, 0.5])
        sample = DetDataSample(
            metainfo=dict(
                img_id=index,
                img_path=f'image_{index}.jpg',
                img_shape=(height, width),
                ori_shape=(height, width),
                scale_factor=(1.0, 1.0),
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=corners * scale,
            labels=torch.randint(
                num_classes, (boxes_per_image,), generator=generator
            ),
        )
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
        )
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)
