"""Images of any number of channels and any padding."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from torch.testing import assert_close

from mmwkd.distillers.alignment import Probe
from mmwkd.distillers.pixels import content_sizes, image_shapes
from mmwkd.distillers.places.base import Step
from mmwkd.testing import tiny_batch, tiny_faster_rcnn, tiny_retinanet
from tests.test_distillers.conftest import teacher_config

FEATURES = dict(
    WKDFeatureLoss=dict(grid=2),
    FitNetLoss={},
    PKDLoss={},
    CWDLoss={},
)


def with_channels(model, channels, **preprocessor):
    """A detector of images with other channels than three."""
    model = Config(dict(model=model)).model
    model.backbone.in_channels = channels
    model.data_preprocessor = dict(
        type='DetDataPreprocessor', pad_size_divisor=32, **preprocessor
    )
    return model


def batch_of(channels):
    batch = tiny_batch()
    batch['inputs'] = [
        image[:1].repeat(channels, 1, 1) for image in batch['inputs']
    ]
    return batch


def random_teacher(config):
    return dict(config=config, allow_random=True)


@pytest.mark.parametrize(
    ('channels', 'preprocessor'),
    [(1, dict(mean=[120.0], std=[60.0])), (1, {}), (4, {})],
    ids=['grey', 'grey raw', 'RGB-D'],
)
@pytest.mark.parametrize('dense', [False, True])
def test_images_have_any_number_of_channels(
    build, step, channels, preprocessor, dense
):
    student = tiny_retinanet() if dense else tiny_faster_rcnn()
    teacher = student if dense else teacher_config()
    student, teacher = (
        with_channels(model, channels, **preprocessor)
        for model in (student, teacher)
    )
    losses = dict(roi_loss=None) if dense else {}
    distiller = build(
        student=student, teacher=random_teacher(teacher), **losses
    )
    values = step(distiller, batch_of(channels))
    assert values['loss_wkd_neck_mean'].isfinite()
    assert values['loss_wkd_logit_target'].isfinite()


def test_a_teacher_of_one_mean_serves_three_channels(build, step):
    teacher = teacher_config(mean=[120.0], std=[60.0])
    losses = step(build(teacher=random_teacher(teacher)))
    assert losses['loss_wkd_neck_mean'].isfinite()


@pytest.mark.parametrize('places', ['logit_loss', 'neck_loss', 'roi_loss'])
def test_other_numbers_of_channels_are_refused_with_both(build, places):
    others = {'logit_loss', 'neck_loss', 'roi_loss'} - {places}
    teacher = with_channels(teacher_config(), 1)
    with pytest.raises(ValueError, match='student .* 3 channels .* of 1'):
        build(teacher=random_teacher(teacher), **dict.fromkeys(others))


@pytest.mark.parametrize('channels', [1, 3])
def test_stems_that_rearrange_pixels_are_seen_through(channels):
    model = tiny_retinanet()
    model.backbone = dict(
        type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125
    )
    model.neck.in_channels = [32, 64, 128]
    detector = MODELS.build(model)
    stem = detector.backbone.stem.conv.conv
    detector.backbone.stem.conv.conv = torch.nn.Conv2d(
        4 * channels, stem.out_channels, 3, padding=1, bias=False
    )
    assert Probe(detector).image_channels == channels


# --- padding takes no part ------------------------------------------------


def padded(feats, sides, value):
    """Maps with something else at the right and bottom."""
    full = torch.full((*feats.shape[:2], *sides), value)
    full[..., : feats.shape[2], : feats.shape[3]] = feats
    return full


@pytest.mark.parametrize('kind', FEATURES)
def test_an_image_counts_the_same_beside_a_larger_one(build, kind):
    distiller = build(
        logit_loss=None,
        roi_loss=None,
        neck_loss=dict(type=kind, levels=(0, 1), **FEATURES[kind]),
    )
    place = distiller._places['neck']

    def value(images, height, width):
        """The loss of maps that know nothing of a padding they have."""
        torch.manual_seed(3)
        alone = [
            [torch.randn(1, d, 64 // s, 96 // s) for s in (4, 8)]
            for d in (16, 24)
        ]
        passes = []
        for value, maps in zip((5.0, -7.0), alone, strict=True):
            levels = [
                padded(each, (height // s, width // s), value).repeat(
                    images, 1, 1, 1
                )
                for s, each in zip((4, 8), maps, strict=True)
            ]
            passes.append(type('Pass', (), dict(neck_feats=levels)))
        sizes = torch.tensor([[64.0, 96.0]]).repeat(images, 1)
        step = Step(*passes, None if images == 1 else sizes)
        return torch.stack(list(place.losses(step).values()))

    assert_close(value(2, 128, 160), value(1, 64, 96), rtol=2e-5, atol=1e-6)


def test_padding_of_a_batch_reaches_the_loss(build, step):
    """A step that takes the padding for image has another loss."""
    distiller = build().eval()
    data = distiller.data_preprocessor(tiny_batch(), training=True)

    def loss():
        torch.manual_seed(0)
        return distiller(**data, mode='loss')['loss_wkd_neck_mean']

    sizes = content_sizes(data['inputs'], data['data_samples'])
    assert sizes.tolist() == [[64, 96], [96, 64]]
    true = loss()
    for sample in data['data_samples']:
        sample.set_metainfo(dict(img_shape=data['inputs'].shape[-2:]))
    assert content_sizes(data['inputs'], data['data_samples']) is None
    assert not torch.isclose(loss(), true, rtol=1e-3)


def test_shapes_of_samples_in_a_mapping():
    inputs = torch.zeros(2, 3, 64, 96)
    metas = [dict(img_shape=(50, 96, 3)), dict(img_shape=(64, 90))]
    assert image_shapes(inputs, dict(img_metas=metas)) == [(50, 96), (64, 90)]
    assert image_shapes(inputs, dict(bboxes_labels=torch.zeros(0, 6))) == [
        (64, 96),
        (64, 96),
    ]
