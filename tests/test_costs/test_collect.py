import copy

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from torch.testing import assert_close

from mmwkd.cost_options import CollectOptions
from mmwkd.costs.collect import (
    annotated_pipeline,
    build_dataset,
    choose_boxes,
    classifier_weight,
    collect_statistics,
    draw_negatives,
)
from mmwkd.distillers import FrozenTeacher, build_teacher
from mmwkd.testing import tiny_batch, tiny_faster_rcnn

from .conftest import CLASSES, NUM_IMAGES


def options(**changes):
    return CollectOptions(**{**dict(num_workers=0, negatives=3), **changes})


def collect(teacher, config, *, predictions=False, **changes):
    chosen = options(**changes)
    dataset = build_dataset(config, chosen.split)
    return collect_statistics(
        teacher, dataset, chosen, predictions=predictions, cap=4
    )


def test_boxes_follow_the_resized_image(config):
    sample = build_dataset(config, 'train')[0]
    assert sample['inputs'].shape == (3, 96, 192)  # of 64 x 96
    dataset = build_dataset(config, 'train')
    original = dataset.get_data_info(0)['instances'][:3]
    expected = np.array([i['bbox'] for i in original]) * [2, 1.5, 2, 1.5]
    truths = sample['data_samples'].gt_instances
    assert_close(truths.bboxes.tensor, torch.from_numpy(expected).float())
    assert truths.labels.tolist() == [0, 1, 2]
    assert len(sample['data_samples'].ignored_instances) == 1


def test_annotations_are_loaded_right_behind_the_image():
    class Resize:
        pass

    pipeline = [
        dict(type='mmdet.LoadImageFromFile'),
        dict(type=Resize),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
        dict(type='PackDetInputs', meta_keys=('img_id',)),
    ]
    made = annotated_pipeline(pipeline)
    assert [step['type'] for step in made] == [
        'mmdet.LoadImageFromFile',
        'LoadAnnotations',
        Resize,
        'PackDetInputs',
    ]
    assert 'with_mask' not in made[1]
    with pytest.raises(ValueError, match='loads no image; .*Resize'):
        annotated_pipeline(pipeline[1:])


def test_every_image_comes_once(config):
    inner = config.train_dataloader.dataset
    inner.filter_cfg = dict(filter_empty_gt=True, min_size=80)
    config.train_dataloader.dataset = dict(
        type='RepeatDataset', times=3, dataset=inner
    )
    assert len(build_dataset(config, 'train')) == NUM_IMAGES
    config.train_dataloader.dataset = dict(
        type='ConcatDataset', datasets=[inner, copy.deepcopy(inner)]
    )
    assert len(build_dataset(config, 'train')) == 2 * NUM_IMAGES


def test_statistics_are_those_of_the_ground_truths(teacher, config):
    """Against the detector's own parts, image by image."""
    detector, head = teacher.detector, teacher.detector.roi_head.bbox_head
    features, labels, probabilities = [], [], []
    dataset = build_dataset(config, 'train')
    with torch.no_grad():
        for index in range(NUM_IMAGES):
            item = dataset[index]
            truths = item['data_samples'].gt_instances
            boxes = truths.bboxes.tensor
            batch = detector.data_preprocessor(
                dict(inputs=[item['inputs']], data_samples=None), False
            )
            maps = detector.roi_head.bbox_roi_extractor(
                detector.extract_feat(batch['inputs'])[:4],
                torch.cat([torch.zeros(len(boxes), 1), boxes], dim=1),
            )
            hidden = maps.flatten(1)
            for layer in head.shared_fcs:
                hidden = layer(hidden).relu()
            logits = head.fc_cls(hidden)
            features.append(hidden)
            labels.append(truths.labels)
            probabilities.append(logits.softmax(dim=1))
    labels = torch.cat(labels)
    statistics = collect(teacher, config, negatives=0)
    assert statistics.counts.tolist() == [NUM_IMAGES] * 3 + [0]
    predicted = collect(teacher, config, negatives=0, predictions=True)
    for category in range(3):
        for rows, mean in (
            (features, statistics.means),
            (probabilities, predicted.means),
        ):
            own = torch.cat(rows)[labels == category].double()
            assert_close(mean[category], own.mean(dim=0), rtol=1e-5, atol=1e-6)


def test_batches_do_not_matter(teacher, config):
    """Nor does padding: images of several sizes are in a batch."""
    expected = collect(teacher, config, batch_size=1)
    assert expected.counts.min() > 0
    for batch_size in (3, 16):
        actual = collect(teacher, config, batch_size=batch_size)
        for name, value in vars(expected).items():
            assert_close(
                getattr(actual, name), value, rtol=1e-4, atol=1e-6, msg=name
            )


def test_last_stage_of_a_cascade_is_measured(config):
    cfg = tiny_faster_rcnn()
    cfg.type = 'CascadeRCNN'
    head = cfg.roi_head
    head.update(
        type='CascadeRoIHead',
        num_stages=2,
        stage_loss_weights=[1, 0.5],
        bbox_head=[copy.deepcopy(head.bbox_head) for _ in range(2)],
        bbox_roi_extractor=[
            copy.deepcopy(head.bbox_roi_extractor) for _ in range(2)
        ],
    )
    cfg.train_cfg.rcnn = [copy.deepcopy(cfg.train_cfg.rcnn) for _ in range(2)]
    detector = MODELS.build(cfg)
    teacher = FrozenTeacher(detector, CLASSES)
    fed = []
    detector.roi_head.bbox_head[1].fc_cls.register_forward_pre_hook(
        lambda module, args: fed.append(args[0])
    )
    statistics = collect(teacher, config)
    total = (statistics.means * statistics.counts[:, None]).sum(dim=0)
    assert_close(total, torch.cat(fed).double().sum(dim=0), rtol=1e-4, atol=0)


def test_images_are_drawn_by_the_seed(teacher, config):
    counts = {
        seed: collect(teacher, config, max_images=2, seed=seed, negatives=0)
        for seed in (0, 0, 1)
    }
    assert counts[0].counts.sum() == 6
    assert not torch.equal(counts[0].means, counts[1].means)


def test_small_boxes_and_crowds_are_left_out(config):
    sample = build_dataset(config, 'train')[0]['data_samples']
    boxes = sample.gt_instances.bboxes.tensor
    side = (boxes[:, 2:] - boxes[:, :2]).amin(dim=1)
    chosen = choose_boxes(
        sample, 3, options(min_size=float(side.median()), negatives=0)
    )
    assert_close(chosen.boxes, boxes[side >= side.median()])
    every = choose_boxes(sample, 3, options(negatives=0))
    assert every.labels.tolist() == [0, 1, 2]
    assert torch.isin(chosen.keys, every.keys).all()


def test_background_depends_on_the_seed_and_the_image_alone(config):
    dataset = build_dataset(config, 'train')
    samples = [dataset[i]['data_samples'] for i in (0, 3)]  # of equal size
    first, other = (choose_boxes(s, 3, options(seed=5)) for s in samples)
    again = choose_boxes(samples[0], 3, options(seed=5))
    assert first.labels.tolist() == [0, 1, 2, 3, 3, 3]
    assert torch.equal(first.boxes, again.boxes)
    assert torch.equal(first.keys, again.keys)
    assert not torch.equal(first.boxes[3:], other.boxes[3:])
    assert not torch.isin(first.keys, other.keys).any()
    reseeded = choose_boxes(samples[0], 3, options(seed=6))
    assert not torch.equal(first.boxes[3:], reseeded.boxes[3:])


def test_background_avoids_ground_truths_and_crowds():
    truths = torch.tensor([[10.0, 10, 60, 60], [50, 20, 90, 90]])
    crowds = torch.tensor([[100.0, 0, 200, 100]])

    def draw(truths, crowds, num=200):
        return draw_negatives(
            truths,
            crowds,
            (100, 200),
            num,
            min_size=8,
            generator=np.random.default_rng(0),
        )

    boxes = draw(truths, crowds)
    assert len(boxes) > 50
    assert bbox_overlaps(boxes, truths).max() < 0.3
    assert bbox_overlaps(boxes, crowds, 'iof').max() < 0.3
    sides = boxes[:, 2:] - boxes[:, :2]
    assert sides.prod(dim=1).min() > 7.9**2
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 200
    assert boxes[:, 3].max() <= 100
    nothing = torch.zeros(0, 4)
    assert len(draw(nothing, nothing)) == 200
    assert len(draw(nothing, torch.tensor([[0.0, 0, 200, 100]]))) == 0
    assert draw(truths, crowds, num=0).shape == (0, 4)


def test_other_classes_are_refused(teacher, config):
    names = ('cat', 'bus', 'dog')
    config.train_dataloader.dataset.metainfo.classes = names
    with pytest.raises(ValueError, match="1 is 'bus' instead of 'dog'"):
        collect(teacher, config)
    teacher.classes = None
    config.train_dataloader.dataset.metainfo.classes = names[:2]
    with pytest.raises(ValueError, match='has 3 classes, the dataset 2'):
        collect(teacher, config)


def test_members_that_differ_in_palette_are_measured(teacher, config):
    inner = config.train_dataloader.dataset
    other = copy.deepcopy(inner)
    other.metainfo.palette = [(1, 2, 3), (4, 5, 6), (7, 8, 9)]
    expected = collect(teacher, config)
    config.train_dataloader.dataset = dict(
        type='RepeatDataset',
        times=2,
        dataset=dict(type='ConcatDataset', datasets=[inner, other]),
    )
    actual = collect(teacher, config)
    assert torch.equal(actual.counts, 2 * expected.counts)
    assert_close(actual.means, expected.means)
    other.metainfo.classes = ('cat', 'bus', 'dog')
    with pytest.raises(ValueError, match="member 1 .*1 is 'bus'"):
        collect(teacher, config)


def test_empty_dataset_is_refused(config, tmp_path):
    path = tmp_path / 'empty.json'
    path.write_text(
        '{"images": [], "annotations": [], "categories": '
        '[{"id": 1, "name": "cat"}]}'
    )
    config.train_dataloader.dataset.ann_file = str(path)
    with pytest.raises(
        ValueError, match='train dataset has no images.*data_root'
    ):
        build_dataset(config, 'train')
    config.pop('train_dataloader')
    with pytest.raises(ValueError, match='has no train_dataloader'):
        build_dataset(config, 'train')


def test_features_that_are_not_finite_name_the_images(teacher, config):
    teacher.detector.roi_head.bbox_head.fc_cls.bias.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match=r'not finite on .*\d.png'):
        collect(teacher, config)


def test_boxes_that_are_not_finite_are_left_out():
    (sample,) = tiny_batch(sizes=[(64, 64)], boxes_per_image=3)['data_samples']
    expected = choose_boxes(sample, 3, options(negatives=20))
    truths = sample.gt_instances.clone()
    broken = InstanceData(
        bboxes=torch.tensor([[5, 5, float('inf'), 15], [float('nan')] * 4]),
        labels=torch.tensor([0, 1]),
    )
    sample.gt_instances = InstanceData.cat([truths, broken])
    sample.ignored_instances = broken
    chosen = choose_boxes(sample, 3, options(negatives=20))
    assert torch.equal(chosen.boxes, expected.boxes)
    assert torch.equal(chosen.labels, expected.labels)


def test_single_stage_teachers_are_refused(config):
    retina = dict(config='mmdet::retinanet/retinanet_r18_fpn_1x_coco.py')
    teacher = build_teacher(dict(**retina, allow_random=True))
    with pytest.raises(ValueError, match='the teacher is a RetinaNet'):
        classifier_weight(teacher)
