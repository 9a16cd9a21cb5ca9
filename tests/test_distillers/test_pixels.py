import pytest
import torch
from mmdet.registry import MODELS
from mmengine.model import BaseDataPreprocessor
from torch.testing import assert_close

from mmwkd.distillers.pixels import PixelAdapter
from mmwkd.testing import tiny_batch

RGB = dict(
    type='DetDataPreprocessor',
    bgr_to_rgb=True,
    pad_size_divisor=32,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
)
CAFFE = dict(
    RGB,
    mean=[103.530, 116.280, 123.675],
    std=[1.0, 1.0, 1.0],
    bgr_to_rgb=False,
)


@pytest.mark.parametrize(
    'teacher',
    [
        CAFFE,
        dict(RGB, std=[1.0, 2.0, 3.0]),
        dict(RGB, pad_size_divisor=64),
        dict(RGB, pad_size_divisor=16),
        dict(RGB, pad_value=7),
        dict(CAFFE, pad_size_divisor=128, pad_value=-3),
        dict(RGB, mean=None, std=None),
    ],
    ids=[
        'caffe',
        'std',
        'larger divisor',
        'smaller divisor',
        'pad value',
        'everything',
        'raw',
    ],
)
@pytest.mark.parametrize('swap', [False, True])
def test_teacher_sees_what_its_own_preprocessor_makes(teacher, swap):
    student = MODELS.build(RGB)
    teacher = MODELS.build(teacher)
    if swap:
        student, teacher = teacher, student
    sizes = [(70, 90), (64, 40)]
    batch = student(tiny_batch(sizes), training=True)
    expected = teacher(tiny_batch(sizes), training=True)['inputs']
    actual = PixelAdapter(student, teacher)(
        batch['inputs'], batch['data_samples']
    )
    assert_close(actual, expected, rtol=1e-5, atol=1e-4)


def test_equal_preprocessors_share_the_batch():
    student, teacher = MODELS.build(RGB), MODELS.build(RGB)
    batch = student(tiny_batch(), training=True)
    adapted = PixelAdapter(student, teacher)(
        batch['inputs'], batch['data_samples']
    )
    assert adapted is batch['inputs']


def test_student_batch_is_not_changed():
    student, teacher = MODELS.build(RGB), MODELS.build(CAFFE)
    batch = student(tiny_batch(), training=True)
    before = batch['inputs'].clone()
    PixelAdapter(student, teacher)(batch['inputs'], batch['data_samples'])
    assert torch.equal(batch['inputs'], before)


def test_unknown_preprocessor_is_refused():
    with pytest.raises(ValueError, match='teacher has .*BaseDataPreprocessor'):
        PixelAdapter(MODELS.build(RGB), BaseDataPreprocessor())
