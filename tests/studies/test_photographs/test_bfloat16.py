"""Training in bfloat16: what is computed in it, and what is not."""

import torch
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

import studies.photographs.bfloat16  # noqa: F401


def test_convolutions_run_in_bfloat16_and_weights_stay_float32():
    model = nn.Conv2d(3, 4, 3)
    wrapper = OPTIM_WRAPPERS.build(
        dict(
            type='BFloat16OptimWrapper',
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        )
    )
    before = model.weight.detach().clone()
    with wrapper.optim_context(model):
        output = model(torch.randn(2, 3, 8, 8))
    assert output.dtype == torch.bfloat16
    assert output.is_contiguous(memory_format=torch.channels_last)
    wrapper.update_params(output.float().mean())
    assert model.weight.dtype == torch.float32
    assert not torch.equal(model.weight, before)
    assert model(torch.randn(2, 3, 8, 8)).dtype == torch.float32
