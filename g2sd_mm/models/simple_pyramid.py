"""From the one map of a plain ViT to a feature pyramid (ViTDet, Li et al. 2022, section 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

_SCALES = (4, 2, 1, 0.5)


@MODELS.register_module(name='ChannelLN')
class ChannelLayerNorm(nn.Module):
    """LayerNorm over the channels of each place of a map; ``norm_cfg=dict(type='ChannelLN')``.

    Not a ``torch.nn.LayerNorm``: the published recipe does not count it among the norms that are
    spared weight decay.
    """

    _abbr_ = 'ln'  # what mmcv's ConvModule calls its norm

    def __init__(self, num_features: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, height, width] -> the same, in channels-last memory."""
        # fused, it keeps one map for the backward pass; written out, it would keep four
        x = x.permute(0, 2, 3, 1)
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps).permute(
            0, 3, 1, 2
        )


class NormedConv(nn.Conv2d):
    """Convolution of the same size, without a bias, and its norm."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
        self.norm = ChannelLayerNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, height, width] -> [B, out, height, width]."""
        return self.norm(super().forward(x))


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """Each level is made from the backbone's last map alone; the coarsest is subsampled once more.

    Names are the published ones: ``simfp_N`` holds the level of stride ``2 ** N``.

    Args:
        in_channels: channels of the backbone's map.
        out_channels: channels of every level.
        stride: pixels a place of the backbone's map.
        scale_factors: resolution of each level over the backbone's: 4, 2, 1 or 0.5.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 256,
        stride: int = 16,
        scale_factors: Sequence[float] = _SCALES,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        unknown = [scale for scale in scale_factors if scale not in _SCALES]
        if unknown:
            raise ValueError(f'scale_factors {unknown} are none of {_SCALES}')
        self._levels = []
        for scale in scale_factors:
            resize, channels = _resize(in_channels, scale)
            level = nn.Sequential(
                *resize,
                NormedConv(channels, out_channels, 1),
                NormedConv(out_channels, out_channels, 3),
            )
            name = f'simfp_{int(math.log2(stride / scale))}'
            self.add_module(name, level)
            self._levels.append(name)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """(map [B, D, h, w],) -> fine to coarse [B, out, ., .], one more than ``scale_factors``."""
        levels = [getattr(self, name)(inputs[-1]) for name in self._levels]
        return (*levels, F.max_pool2d(levels[-1], kernel_size=1, stride=2))


def _resize(channels: int, scale: float) -> tuple[list[nn.Module], int]:
    """Layers that change the resolution by ``scale``, and the channels that come out."""
    if scale == 4:
        return [
            nn.ConvTranspose2d(channels, channels // 2, 2, 2),
            ChannelLayerNorm(channels // 2),
            nn.GELU(),
            nn.ConvTranspose2d(channels // 2, channels // 4, 2, 2),
        ], channels // 4
    if scale == 2:
        return [nn.ConvTranspose2d(channels, channels // 2, 2, 2)], channels // 2
    return ([nn.MaxPool2d(2)] if scale == 0.5 else []), channels
