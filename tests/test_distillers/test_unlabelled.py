"""Images without labels have distillation terms, and nothing else."""

import copy

import numpy as np
import pytest
import torch
from mmdet.datasets.transforms import PackDetInputs
from mmdet.structures.mask import BitmapMasks
from torch.testing import assert_close

from mmwkd.distillers.unlabelled import by_labels, has_labels
from mmwkd.testing import tiny_batch, tiny_faster_rcnn, tiny_retinanet
from tests.test_distillers.conftest import cascade_rcnn

SIZES = ((64, 96),) * 3


def batch(unlabelled=(), **options):
    made = tiny_batch(SIZES, **options)
    for index in unlabelled:
        # as mmdet packs an image whose boxes were not loaded
        for name in ('gt_instances', 'ignored_instances'):
            instances = getattr(made['data_samples'][index], name)
            for field in list(instances.keys()):
                delattr(instances, field)
    return made


def part(made, indices):
    return {key: [made[key][i] for i in indices] for key in made}


@pytest.fixture
def distiller(build):
    # batch statistics would tie the images of a batch together
    neck_loss = dict(type='WKDFeatureLoss', grid=2, standardize=False)
    return build(neck_loss=neck_loss).eval()


def own(losses):
    return {
        key: value
        for key, value in losses.items()
        if 'loss' in key and not key.startswith('loss_wkd')
    }


def test_mmdet_packs_an_image_without_boxes_as_unlabelled():
    image = dict(img=torch.zeros(8, 8, 3).numpy(), img_shape=(8, 8))
    packed = PackDetInputs(meta_keys=('img_shape',))(image)
    assert not has_labels(packed['data_samples'])
    assert has_labels(batch(boxes_per_image=0)['data_samples'][0])


def test_own_losses_are_those_of_the_labelled_images(distiller, step):
    made = batch(unlabelled=[1])
    torch.manual_seed(0)
    mixed = step(distiller, copy.deepcopy(made))
    torch.manual_seed(0)
    alone = step(distiller, part(made, [0, 2]))
    assert mixed.keys() == alone.keys()
    assert_close(own(mixed), own(alone))


def test_terms_are_means_over_all_images(distiller, step):
    made = batch(unlabelled=[1])
    whole = step(distiller, batch())
    mixed = step(distiller, made)
    # maps do not depend on RoIs, which are sampled at random
    for key in ('loss_wkd_neck_mean', 'loss_wkd_neck_cov'):
        assert_close(mixed[key], whole[key])


@pytest.mark.parametrize('labelled', [[0], [2]])
def test_unlabelled_images_reach_the_student_through_the_teacher(
    distiller, step, labelled
):
    others = [index for index in range(3) if index not in labelled]
    losses = step(distiller, batch(unlabelled=others))
    for entry in ('logit', 'neck', 'roi'):
        terms = [v for k, v in losses.items() if f'loss_wkd_{entry}' in k]
        grad = torch.autograd.grad(
            sum(terms),
            distiller.student.backbone.conv1.weight,
            retain_graph=True,
        )
        assert grad[0].abs().sum() > 0


def test_a_batch_of_labelled_images_is_one_pass(distiller, step, monkeypatch):
    calls = []
    observe = distiller.observe
    monkeypatch.setattr(
        distiller, 'observe', lambda *args: calls.append(1) or observe(*args)
    )
    step(distiller, batch())
    assert len(calls) == 1
    step(distiller, batch(unlabelled=[0]))
    assert len(calls) == 3


def test_a_silent_distiller_trains_on_the_labelled_images(distiller, step):
    distiller.set_distillation_weight(0)
    made = batch(unlabelled=[1])
    torch.manual_seed(0)
    mixed = step(distiller, copy.deepcopy(made))
    torch.manual_seed(0)
    alone = distiller.student(
        **distiller.data_preprocessor(part(made, [0, 2]), training=True),
        mode='loss',
    )
    assert_close(own(mixed), own(alone))


def test_balance_is_measured_on_labelled_images(build, step):
    distiller = build(balance_interval=1, logit_loss=None).eval()
    made = batch(unlabelled=[1])
    torch.manual_seed(0)
    mixed = step(copy.deepcopy(distiller), copy.deepcopy(made))
    torch.manual_seed(0)
    alone = step(distiller, part(made, [0, 2]))
    for entry in ('neck', 'roi'):
        assert_close(mixed[f'balance_{entry}'], alone[f'balance_{entry}'])


@pytest.mark.parametrize('student', [tiny_retinanet, cascade_rcnn])
def test_other_detectors(build, step, student):
    changes = {}
    if student is tiny_retinanet:
        changes = dict(roi_loss=None, neck_loss=None)
    losses = step(build(student=student(), **changes), batch(unlabelled=[0]))
    for key, value in losses.items():
        values = value if isinstance(value, list) else [value]
        assert all(each.isfinite().all() for each in values), key


def test_a_batch_without_labels_is_refused(distiller, step):
    with pytest.raises(
        ValueError, match='none of the 3 .*LoadAnnotations.*=.MultiSource'
    ):
        step(distiller, batch(unlabelled=[0, 1, 2]))


def test_samples_of_the_batch_stay_as_they_are():
    samples = batch(unlabelled=[1])['data_samples']
    inputs = torch.zeros(3, 3, 64, 96)
    labelled, others = by_labels(inputs, samples)
    assert [s.img_id for s in labelled.data_samples] == [0, 2]
    assert [s.img_id for s in others.data_samples] == [1]
    assert others.data_samples[0].gt_instances.bboxes.shape == (0, 4)
    assert not has_labels(samples[1])
    assert by_labels(inputs, [samples[0]] * 3)[1] is None


def test_targets_of_rois_without_labels_are_the_teachers(build):
    distiller = build()
    data = distiller.data_preprocessor(batch(), training=True)
    _, step = distiller.observe(data['inputs'], data['data_samples'])
    place = distiller._places['logit']
    assert_close(place.rows(step).target, step.student.stages[-1].labels)
    rows = place.rows(step._replace(labelled=False))
    assert_close(rows.target, rows.teacher_logits.argmax(dim=1))
    assert (rows.target != step.student.stages[-1].labels).any()


def test_students_that_cannot_do_without_labels_are_refused(build, step):
    dynamic = tiny_faster_rcnn()
    dynamic.roi_head.type = 'DynamicRoIHead'
    dynamic.train_cfg.rcnn.dynamic_rcnn = dict(
        iou_topk=75,
        beta_topk=10,
        update_iter_interval=100,
        initial_iou=0.4,
        initial_beta=1.0,
    )
    dynamic.roi_head.bbox_head.loss_bbox = dict(type='SmoothL1Loss')
    distiller = build(student=dynamic)
    step(distiller, batch())
    with pytest.raises(ValueError, match='DynamicRoIHead cannot be distilled'):
        step(distiller, batch(unlabelled=[1]))


@pytest.mark.parametrize('with_mask', [True, False])
def test_masks_are_refused_before_they_are_padded(build, step, with_mask):
    student = tiny_faster_rcnn()
    student.data_preprocessor.pad_mask = True
    if with_mask:  # an RTMDet-Ins has masks, and does not say so
        student.roi_head.mask_head = dict(
            type='FCNMaskHead', in_channels=16, num_classes=3
        )
        student.train_cfg.rcnn.mask_size = 28
    distiller = build(student=student)
    assert distiller.student.with_mask == with_mask
    made = batch(unlabelled=[1])
    for sample in made['data_samples'][::2]:
        count = len(sample.gt_instances)
        sample.gt_instances.masks = BitmapMasks(
            np.zeros((count, 64, 96), dtype=np.uint8), 64, 96
        )
    with pytest.raises(ValueError, match='that learns masks cannot'):
        step(distiller, made)


def test_statistics_of_a_loss_take_in_no_unlabelled_image(build, step):
    student = tiny_retinanet()
    student.bbox_head.loss_cls = dict(type='GHMC', momentum=0.75)
    options = dict(student=student, logit_loss=None, roi_loss=None)
    with pytest.raises(ValueError, match='whose GHM loss has a momentum'):
        step(build(**options), batch(unlabelled=[1]))
    student.bbox_head.loss_cls.momentum = 0
    step(build(**options), batch(unlabelled=[1]))


def test_an_image_whose_masks_alone_are_loaded_is_labelled():
    (sample, *_) = batch()['data_samples']
    sample.gt_instances.pop('bboxes')
    assert has_labels(sample)


def test_background_weight_has_no_part_in_images_without_labels(build):
    roi_loss = dict(type='WKDFeatureLoss', background_weight=0)
    distiller = build(roi_loss=roi_loss, logit_loss=None, neck_loss=None)
    data = distiller.data_preprocessor(batch(boxes_per_image=0), training=True)
    _, observed = distiller.observe(data['inputs'], data['data_samples'])
    place = distiller._places['roi']
    key = 'loss_wkd_roi_mean'
    assert place.losses(observed)[key] == 0
    assert place.losses(observed._replace(labelled=False))[key] > 0
