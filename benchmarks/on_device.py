"""A plugin of pytest that runs tests on another device.

    TEST_DEVICE=cuda python -m pytest -p on_device tests/test_functional

Tests that make their tensors on a CPU make them on the device, and read them
back where they compare them with NumPy.
"""

import os
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

_from_numpy = torch.from_numpy


class OnDevice(TorchFunctionMode):
    """Makes tensors on a device where no other is named."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.Tensor.numpy:
            return func(args[0].cpu(), *args[1:], **kwargs)
        if func not in _device_constructors() or kwargs.get('device'):
            return func(*args, **kwargs)
        if kwargs.get('generator') is not None:  # those of tests are the CPU's
            return func(*args, **kwargs).to(self.device)
        return func(*args, **{**kwargs, 'device': self.device})

    def __enter__(self) -> 'OnDevice':
        torch.from_numpy = lambda array: _from_numpy(array).to(self.device)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        torch.from_numpy = _from_numpy
        super().__exit__(*error)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Any:
    with OnDevice(os.environ['TEST_DEVICE']):
        return (yield)
