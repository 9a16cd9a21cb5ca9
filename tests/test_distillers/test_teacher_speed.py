"""The options that make the teacher faster leave its maps what they were."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from mmwkd.distillers import build_teacher
from mmwkd.testing import tiny_faster_rcnn, tiny_retinanet
from tests.test_distillers.conftest import teacher_config


def teacher(**options):
    return build_teacher(
        dict(config=tiny_faster_rcnn(), allow_random=True, **options)
    )


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """Weights whose batch normalisation is far from the identity."""
    detector = teacher().detector
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_()
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    torch.save(dict(state_dict=detector.state_dict()), path)
    return str(path)


def observe(checkpoint, **options):
    frozen = build_teacher(
        dict(config=tiny_faster_rcnn(), checkpoint=checkpoint, **options)
    )
    torch.manual_seed(0)
    inputs = torch.randn(2, 3, 64, 96)
    rois = torch.tensor([[0.0, 4, 4, 40, 50], [1.0, 10, 0, 90, 60]])
    observed = frozen.observe(inputs, [rois], logits=True)
    return [*observed.neck_feats, observed.stages[0].logits]


def test_autocast_rounds_and_returns_float32(checkpoint):
    expected = observe(checkpoint)
    actual = observe(checkpoint, autocast='bfloat16')
    for output, expected_output in zip(actual, expected, strict=True):
        assert output.dtype == torch.float32
        assert_close(
            output,
            expected_output,
            rtol=0,
            atol=0.05 * expected_output.abs().max(),
        )
    assert not torch.equal(actual[0], expected[0])


def test_unknown_types_are_refused():
    with pytest.raises(ValueError, match="bfloat16' or None, got 'half'"):
        teacher(autocast='half')


# --- smaller images -------------------------------------------------------


def test_rois_are_scaled_with_the_images(build, step):
    whole, half = (
        build(neck_loss=None, teacher=scaled(scale)).eval()
        for scale in (1.0, 0.5)
    )
    half.load_state_dict(whole.state_dict())
    half.teacher.load_state_dict(whole.teacher.state_dict())
    rois = torch.tensor([[0, 32, 32, 96, 96], [1, 0, 64, 64, 128]]).float()
    images = torch.ones(2, 3, 128, 160)
    one, other = (
        distiller._teacher.observe(images, [rois], logits=True)
        for distiller in (whole, half)
    )
    assert other.neck_feats[0].shape[-2:] == (16, 24)
    assert one.neck_feats[0].shape[-2:] == (32, 40)
    assert_close(
        half._teacher._scaled(images, {'': [rois]})[1][''][0],
        torch.tensor([[0, 16, 16, 48, 48], [1, 0, 32, 32, 64]]).float(),
    )
    assert one.stages[0].logits.shape == other.stages[0].logits.shape
    assert all(value.isfinite() for value in distilled(step(half)))


def scaled(scale):
    return dict(config=teacher_config(), allow_random=True, image_scale=scale)


def distilled(losses):
    return [value for key, value in losses.items() if 'wkd' in key]


@pytest.mark.parametrize('scale', [0, 1.5, -1])
def test_scales_that_make_no_sense_are_refused(build, scale):
    with pytest.raises(ValueError, match=rf'\(0, 1\], got {scale}'):
        build(teacher=scaled(scale))


def test_maps_are_not_compared_between_sizes(build):
    with pytest.raises(ValueError, match='neck_loss .*image_scale is 0.5'):
        build(teacher=scaled(0.5))
    with pytest.raises(ValueError, match='dense detectors .* is 0.5'):
        build(
            student=tiny_retinanet(),
            teacher=dict(scaled(0.5), config=tiny_retinanet()),
            neck_loss=None,
            roi_loss=None,
        )
