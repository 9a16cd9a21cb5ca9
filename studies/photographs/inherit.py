"""Layers of a student that inherits its teacher's neck and head."""

from collections.abc import Sequence

from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn


@MODELS.register_module()
class FixedStatisticsBN(nn.BatchNorm2d):
    """Batch norm that keeps the mean and variance it has."""

    def train(self, mode: bool = True) -> 'FixedStatisticsBN':
        """Stay in evaluation mode.

        Args:
            mode: Without effect.
        """
        return super().train(False)


@MODELS.register_module()
class ConvPerMap(BaseModule):
    """A 1x1 convolution with batch norm for each map.

    Args:
        in_channels: Channels of the maps.
        out_channels: Channels they get.
        init_cfg: Initialisation.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: Sequence[int],
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.convs = nn.ModuleList(
            ConvModule(
                before,
                after,
                1,
                norm_cfg=dict(type='BN'),
                act_cfg=dict(type='SiLU', inplace=True),
            )
            for before, after in zip(in_channels, out_channels, strict=True)
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Convert the maps.

        Args:
            maps: Per level ``(N, in_channels[level], H, W)``.

        Returns:
            Per level ``(N, out_channels[level], H, W)``.
        """
        return tuple(conv(x) for conv, x in zip(self.convs, maps, strict=True))
