import pytest
import torch
from mmdet.registry import MODELS
from torch.testing import assert_close

from mmwkd.distillers import capture
from mmwkd.testing import tiny_batch, tiny_faster_rcnn


@pytest.fixture
def detector():
    return MODELS.build(tiny_faster_rcnn())


def run(detector, **batch_options):
    data = detector.data_preprocessor(
        tiny_batch(**batch_options), training=True
    )
    with capture(detector, roi_stages=True) as captured:
        losses = detector.loss(
            **{
                'batch_inputs': data['inputs'],
                'batch_data_samples': data['data_samples'],
            }
        )
    return data['inputs'], losses, captured.record


def num_hooks(detector):
    return sum(
        len(m._forward_hooks) + len(m._forward_pre_hooks)
        for m in detector.modules()
    )


def test_captured_equals_run_again(detector):
    detector.eval()  # batch statistics would differ between the two runs
    inputs, losses, record = run(detector)
    (stage,) = record.stages

    feats = detector.extract_feat(inputs)
    for captured, again in zip(record.neck_feats, feats, strict=True):
        assert_close(captured, again, rtol=0, atol=0)
    results = detector.roi_head._bbox_forward(feats, stage.rois)
    assert_close(stage.feats, results['bbox_feats'], rtol=0, atol=0)
    assert_close(stage.logits, results['cls_score'], rtol=0, atol=0)
    loss_cls = detector.roi_head.bbox_head.loss_cls(
        stage.logits,
        stage.labels,
        stage.label_weights,
        avg_factor=stage.label_weights.sum(),
    )
    assert_close(loss_cls, losses['loss_cls'])


def test_captured_tensors_are_in_the_graph(detector):
    _, _, record = run(detector)
    (stage,) = record.stages
    for tensor in (*record.neck_feats, stage.feats, stage.logits):
        assert tensor.requires_grad


def test_labels_mark_background_last(detector):
    _, _, record = run(detector)
    (stage,) = record.stages
    assert stage.logits.shape == (len(stage.rois), 4)
    assert stage.labels.min() >= 0
    assert stage.labels.max() == 3
    assert (stage.labels < 3).any()


def test_own_losses_are_untouched(detector):
    data = detector.data_preprocessor(tiny_batch(), training=True)
    torch.manual_seed(3)
    expected = detector.loss(data['inputs'], data['data_samples'])
    data = detector.data_preprocessor(tiny_batch(), training=True)
    torch.manual_seed(3)
    with capture(detector, roi_stages=True):
        actual = detector.loss(data['inputs'], data['data_samples'])
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(actual[name], value, rtol=0, atol=0)


def test_hooks_are_removed(detector):
    run(detector)
    assert num_hooks(detector) == 0
    with pytest.raises(ZeroDivisionError), capture(detector, roi_stages=True):
        assert num_hooks(detector) > 0
        raise ZeroDivisionError
    assert num_hooks(detector) == 0


def test_record_before_the_end_is_refused(detector):
    with (
        pytest.raises(RuntimeError, match='has not finished'),
        capture(detector, roi_stages=False) as captured,
    ):
        captured.record  # noqa: B018


@pytest.mark.parametrize('times', [0, 2])
def test_a_pass_that_is_not_one_is_refused(detector, times):
    image = torch.zeros(1, 3, 64, 64)
    with pytest.raises(RuntimeError, match=f'one call of the neck.*{times}'):
        with capture(detector, roi_stages=False):
            for _ in range(times):
                detector.extract_feat(image)


def test_a_pass_without_box_head_is_refused(detector):
    with pytest.raises(RuntimeError, match='a call of box head 0.*saw 0'):
        with capture(detector, roi_stages=True):
            detector.extract_feat(torch.zeros(1, 3, 64, 64))


def test_calls_for_hard_example_mining_are_left_out():
    cfg = tiny_faster_rcnn()
    cfg.train_cfg.rcnn.sampler.type = 'OHEMSampler'
    detector = MODELS.build(cfg)
    _, _, record = run(detector)
    (stage,) = record.stages
    assert len(stage.rois) == len(stage.labels) == len(stage.logits)
    assert stage.logits.requires_grad


def test_losses_on_other_logits_are_left_out(detector):
    """PISA calls the classification loss on a subset beside the pass."""
    head = detector.roi_head.bbox_head
    own_loss = head.loss

    def loss(cls_score, *args, **kwargs):
        head.loss_cls(cls_score[:2], torch.zeros(2, dtype=torch.long))
        return own_loss(cls_score, *args, **kwargs)

    head.loss = loss
    _, _, record = run(detector)
    assert len(record.stages[0].labels) == len(record.stages[0].logits) > 2


def test_hard_example_mining_without_grad():
    cfg = tiny_faster_rcnn()
    cfg.train_cfg.rcnn.sampler.type = 'OHEMSampler'
    with torch.no_grad():
        _, _, record = run(MODELS.build(cfg))
    assert len(record.stages[0].rois) == len(record.stages[0].labels)


def test_images_without_ground_truth(detector):
    _, _, record = run(detector, boxes_per_image=0)
    (stage,) = record.stages
    assert (stage.labels == 3).all()


def test_no_rois_at_all(detector):
    cfg = detector.train_cfg.rpn_proposal
    cfg.min_bbox_size = 10_000  # no proposal survives
    _, _, record = run(detector, boxes_per_image=0)
    (stage,) = record.stages
    assert stage.rois.shape == (0, 5)
    assert stage.labels.shape == stage.label_weights.shape == (0,)


def test_feature_maps_of_a_detector_without_neck():
    cfg = tiny_faster_rcnn()
    detector = MODELS.build(cfg)
    neck, detector.neck = detector.neck, None
    with capture(detector, roi_stages=False) as captured:
        feats = detector.backbone(torch.zeros(1, 3, 64, 64))
    assert captured.record.neck_feats == tuple(feats)
    detector.neck = neck
