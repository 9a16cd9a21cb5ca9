"""Run a teacher over annotated images and gather class statistics.

Shapes: K categories, background included and last; D features; R RoIs;
G ground truths of an image.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from mmdet.registry import DATASETS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi, bbox_overlaps, get_box_tensor
from mmengine import dist
from mmengine.config import Config
from mmengine.dataset import BaseDataset, pseudo_collate
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from mmwkd.configs import (
    dataset_classes,
    refused_without_images,
    type_name,
)
from mmwkd.cost_options import CollectOptions, Split
from mmwkd.costs.statistics import ClassStatistics, hash_key, sample_keys
from mmwkd.distillers.alignment import check_roi_head
from mmwkd.distillers.capture import box_heads
from mmwkd.distillers.categories import classifier_rows
from mmwkd.distillers.teacher import FrozenTeacher

# a box that overlaps less with every ground truth shows background
_NEGATIVE_IOU = 0.3


@dataclass(frozen=True)
class LabelledBoxes:
    """Boxes of an image whose features are measured."""

    boxes: Tensor  # (R, 4) in pixels of the image that the teacher sees
    labels: Tensor  # (R,), background is K - 1
    keys: Tensor  # (R,), the same in every run with the same seed


def build_dataset(config: Config, split: Split) -> BaseDataset:
    """Dataset of a split with its annotations and the test-time pipeline.

    Every image comes once: wrappers that repeat or mix images are dropped.
    """
    for name in (f'{split}_dataloader', 'val_dataloader'):
        if not config.get(name):
            raise ValueError(f'the config has no {name}')
    test = config.get('test_dataloader') or config.val_dataloader
    node = _each_image_once(
        copy.deepcopy(config[f'{split}_dataloader'].dataset),
        annotated_pipeline(_first_pipeline(test.dataset)),
    )
    with refused_without_images(split):
        return DATASETS.build(node)


def annotated_pipeline(
    pipeline: Sequence[Mapping[str, Any]],
) -> list[Mapping[str, Any]]:
    """A test pipeline whose ground truths follow the image.

    mmdet's test pipelines load annotations behind ``Resize``, as scores are
    computed in the original image. Here they are loaded before it, so that
    every transform takes the boxes along to where the teacher looks.
    """
    steps = [
        step
        for step in pipeline
        if not type_name(step).endswith(('Annotations', 'PackDetInputs'))
    ]
    loaders = [
        i for i, s in enumerate(steps) if type_name(s).startswith('Load')
    ]
    if not loaders:
        raise ValueError(
            'the test pipeline loads no image; it has the steps '
            f'{[type_name(step) for step in pipeline]}'
        )
    behind = loaders[0] + 1
    return [
        *steps[:behind],
        dict(type='LoadAnnotations', with_bbox=True),
        *steps[behind:],
        dict(type='PackDetInputs'),
    ]


def classifier_weight(teacher: FrozenTeacher) -> Tensor:
    """Rows of the teacher's classifier, of shape (K, D)."""
    check_roi_head('teacher', teacher.detector)
    head = box_heads(teacher.detector)[-1]
    rows = classifier_rows(head)
    if rows is None:
        raise ValueError(
            f"the teacher's {type(head).__name__} has no linear fc_cls, so "
            'relations of its categories cannot be estimated'
        )
    return rows


def choose_boxes(
    sample: DetDataSample, num_classes: int, options: CollectOptions
) -> LabelledBoxes:
    """Ground truths of an image, and boxes that show background.

    Crowds are left out, and boxes that are not finite. What is drawn depends
    on the seed and the image alone, not on other images.
    """
    key = hash_key(options.seed, sample.img_id)
    truths = get_box_tensor(sample.gt_instances.bboxes)  # (G, 4)
    crowds = get_box_tensor(sample.ignored_instances.bboxes)
    finite = truths.isfinite().all(dim=1)
    truths, labels = truths[finite], sample.gt_instances.labels[finite]
    negatives = draw_negatives(
        truths,
        crowds[crowds.isfinite().all(dim=1)],
        sample.img_shape,
        options.negatives,
        min_size=options.min_size,
        generator=np.random.default_rng(key),
    )
    keys = sample_keys(key, len(truths) + len(negatives))
    large = (truths[:, 2:] - truths[:, :2]).amin(dim=1) >= options.min_size
    keep = torch.cat([large, large.new_ones(len(negatives))])
    return LabelledBoxes(
        torch.cat([truths, negatives])[keep],
        torch.cat([labels, labels.new_full((len(negatives),), num_classes)])[
            keep
        ],
        keys[keep],
    )


def draw_negatives(
    truths: Tensor,
    crowds: Tensor,
    image_shape: tuple[int, int],
    num: int,
    *,
    min_size: float,
    generator: np.random.Generator,
) -> Tensor:
    """Draw boxes of any size that show background, fewer in a full image.

    They overlap little with truths (G, 4) and cover little of crowds (I, 4);
    ``min_size`` is of the root of the area, in pixels.
    """
    limit = np.array(image_shape[:2][::-1], dtype=float)  # width, height
    largest = limit.min()
    smallest = min(max(min_size, largest / 32), largest)
    tries = 8 * num
    # uniform in the logarithm: as many boxes of 16 to 32 as of 32 to 64
    size = smallest * (largest / smallest) ** generator.random((tries, 1))
    aspect = 3 ** generator.uniform(-0.5, 0.5, (tries, 1))
    sides = np.minimum(
        np.concatenate([size * aspect, size / aspect], 1), limit
    )
    corners = (limit - sides) * generator.random((tries, 2))
    boxes = torch.from_numpy(np.concatenate([corners, corners + sides], 1)).to(
        truths.dtype
    )
    apart = (bbox_overlaps(boxes, truths) < _NEGATIVE_IOU).all(dim=1)
    apart &= (bbox_overlaps(boxes, crowds, 'iof') < _NEGATIVE_IOU).all(dim=1)
    return boxes[apart][:num]


def collect_statistics(
    teacher: FrozenTeacher,
    dataset: BaseDataset,
    options: CollectOptions,
    *,
    predictions: bool = False,
    cap: int = 0,
) -> ClassStatistics:
    """Run a teacher on the boxes of a dataset; on all ranks together.

    Args:
        teacher: The teacher, on the device to run on.
        dataset: Dataset from :func:`build_dataset`.
        options: What is measured, and on which boxes.
        predictions: Whether the features are the K predicted probabilities
            instead of the D that the classifier reads.
        cap: Samples kept of each category; 0 for none.
    """
    classes = known_classes(teacher, dataset)
    width = classifier_weight(teacher).shape[1]
    statistics = ClassStatistics(
        len(classes) + 1,
        len(classes) + 1 if predictions else width,
        cap=cap,
        device=next(teacher.detector.parameters()).device,
    )
    rank, world_size = dist.get_dist_info()
    batches = DataLoader(
        Subset(dataset, _image_order(dataset, options)[rank::world_size]),
        batch_size=options.batch_size,
        num_workers=options.num_workers,
        collate_fn=pseudo_collate,
    )
    for batch in tqdm(batches, unit='batch', disable=rank != 0):
        _add_batch(statistics, teacher, batch, options, predictions)
    statistics.all_reduce()
    return statistics


def known_classes(
    teacher: FrozenTeacher, dataset: BaseDataset | None
) -> tuple[str, ...]:
    """Foreground classes of a dataset, or of the checkpoint without one."""
    classes = teacher.classes or ()
    if dataset is not None:
        classes = dataset_classes(dataset) or ()
        teacher.check_classes(classes)
    known = box_heads(teacher.detector)[-1].num_classes
    if known != len(classes):
        source = 'checkpoint' if dataset is None else 'dataset'
        raise ValueError(
            f'the teacher has {known} classes, the {source} {len(classes)}: '
            'it is of another dataset'
        )
    return classes


@torch.no_grad()
def _add_batch(
    statistics: ClassStatistics,
    teacher: FrozenTeacher,
    batch: Mapping[str, Any],
    options: CollectOptions,
    predictions: bool,
) -> None:
    detector = teacher.detector
    head = box_heads(detector)[-1]
    device = statistics.counts.device
    images = zip(batch['inputs'], batch['data_samples'], strict=True)
    for _, group in groupby(images, key=lambda image: image[0].shape):
        inputs, samples = zip(*group, strict=True)
        chosen = [choose_boxes(s, head.num_classes, options) for s in samples]
        rois = bbox2roi([boxes.boxes for boxes in chosen]).to(device)
        if len(rois) == 0:
            continue
        data = detector.data_preprocessor(
            dict(inputs=list(inputs), data_samples=list(samples)), False
        )
        neck_feats = teacher.neck_feats(data['inputs'])
        fc: list[Tensor] = []
        with head.fc_cls.register_forward_pre_hook(
            lambda module, args, seen=fc: seen.append(args[0])
        ):
            # of several stages the last has the best classifier
            stage = teacher.roi_stage(
                neck_feats, len(box_heads(detector)) - 1, rois, logits=True
            )
        assert stage.logits is not None
        if not (fc[-1].isfinite().all() and stage.logits.isfinite().all()):
            files = ', '.join(str(sample.img_path) for sample in samples)
            raise FloatingPointError(
                f"the teacher's features are not finite on {files}; check "
                'the checkpoint and its normalisation'
            )
        statistics.update(
            stage.logits.softmax(dim=1) if predictions else fc[-1],
            torch.cat([boxes.labels for boxes in chosen]).to(device),
            torch.cat([boxes.keys for boxes in chosen]).to(device),
        )


def _image_order(dataset: BaseDataset, options: CollectOptions) -> list[int]:
    """Images to use, those of equal size next to each other."""
    indices = np.arange(len(dataset))
    if options.max_images is not None and options.max_images < len(indices):
        generator = np.random.default_rng(options.seed)
        indices = np.sort(
            generator.choice(indices, options.max_images, replace=False)
        )

    def size(index: int) -> tuple[int, int]:
        info = dataset.get_data_info(index)
        return info.get('height', 0), info.get('width', 0)

    return sorted(indices.tolist(), key=size)


def _each_image_once(node: Any, pipeline: Sequence[Any]) -> Any:
    if 'dataset' in node:  # repeats, balances or mixes
        return _each_image_once(node['dataset'], pipeline)
    if 'datasets' in node:
        node['datasets'] = [
            _each_image_once(part, pipeline) for part in node['datasets']
        ]
        return node
    # test_mode: no image is filtered, none is replaced by another
    node.update(pipeline=list(pipeline), test_mode=True)
    return node


def _first_pipeline(node: Any) -> Any:
    while 'pipeline' not in node or 'dataset' in node:
        node = node['dataset'] if 'dataset' in node else node['datasets'][0]
    return node['pipeline']
