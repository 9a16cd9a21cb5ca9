"""Modules that turn student channels into teacher channels."""

from collections.abc import Mapping
from typing import Any, Literal

from mmcv.cnn import ConvModule
from torch import Tensor, nn

AdapterConfig = Literal['auto'] | Mapping[str, Any] | None


def build_adapter(
    name: str,
    student_channels: int,
    teacher_channels: int,
    cfg: AdapterConfig,
) -> nn.Module:
    """Build the adapter of one feature map; an identity where none is needed.

    Args:
        name: Name of the config entry, for messages.
        student_channels: Channels that come in.
        teacher_channels: Channels that go out.
        cfg: 'auto' for a 1x1 convolution where the channels differ, None for
            never, or options of ``mmcv.cnn.ConvModule`` to always have one.
    """
    same = student_channels == teacher_channels
    if cfg is None and not same:
        raise ValueError(
            f'the maps have {student_channels} channels in the student and '
            f"{teacher_channels} in the teacher: set {name} to 'auto' for a "
            '1x1 convolution'
        )
    if cfg is None or (cfg == 'auto' and same):
        return nn.Identity()
    if cfg == 'auto':
        return nn.Conv2d(student_channels, teacher_channels, 1)
    if not isinstance(cfg, Mapping):
        raise ValueError(f"{name} must be 'auto', None or a dict, got {cfg!r}")
    try:
        # positions stay where they are, which torch refuses with a stride
        padding: str | int = 'same'
        if cfg.get('padding_mode', 'zeros') not in ('zeros', 'circular'):
            padding = cfg.get('kernel_size', 1) // 2  # mmcv pads, by numbers
        options = {
            'kernel_size': 1,
            'padding': padding,
            'act_cfg': None,
            **cfg,
        }
        return ConvModule(student_channels, teacher_channels, **options)
    except (TypeError, ValueError, AssertionError) as error:
        raise ValueError(
            f'{name} takes the options of mmcv.cnn.ConvModule, got '
            f'{dict(cfg)}: {error}'
        ) from error


def zero_of(module: nn.Module) -> Tensor | float:
    """An exact 0 that depends on all parameters of a module.

    DDP then does not wait for gradients of a module without use in a step.
    """
    return sum(0 * parameter.sum() for parameter in module.parameters())
