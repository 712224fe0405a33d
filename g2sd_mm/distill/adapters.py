"""Modules between a student's tap and the loss: trained with the student, then dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.registry import MODELS
from timm.layers import Mlp
from torch import Tensor, nn

from ..errors import UserError
from ..models.vit import init_linears


@MODELS.register_module()
class TokenAdapter(nn.Linear):
    """One linear map for every token [B, N, in_channels] -> [B, N, out_channels].

    Of a tap that hears several layers, the same map for each of them.

    Args:
        in_channels: of the student's tokens.
        out_channels: of the teacher's.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.token_width, self.out_width = in_channels, out_channels

    def forward(self, tokens: Any) -> Any:
        """Tokens, or a list of them -> the same in the other width."""
        if isinstance(tokens, (list, tuple)):
            return [self(layer) for layer in tokens]
        return super().forward(tokens)


@MODELS.register_module()
class NormLinearAdapter(nn.Sequential):
    """LayerNorm, then one linear map for every token (the heads of Proteus).

    Args:
        in_channels: of the student's tokens.
        out_channels: of the teacher's.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(nn.LayerNorm(in_channels), nn.Linear(in_channels, out_channels))
        self.token_width, self.out_width = in_channels, out_channels


@MODELS.register_module()
class MlpAdapter(Mlp):
    """Linear, GELU, linear for every token [B, N, in_channels] -> [B, N, out_channels] (G2SD).

    It runs in the student's precision, under autocast too, as the published predictor does.

    Args:
        in_channels: of the student's tokens.
        out_channels: of the teacher's; the hidden layer is as wide.
    """

    under_autocast = True

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, out_channels)
        self.token_width, self.out_width = in_channels, out_channels

    def init_weights(self) -> None:
        """Xavier-uniform weights, zero biases, as the student's."""
        init_linears(self, nn.init.xavier_uniform_)


@MODELS.register_module()
class LevelAdapters(nn.Module):
    """One 3x3 convolution for each level of a pyramid: no norm, no activation (G2SD).

    Args:
        channels: of the student's levels.
        out_channels: of the teacher's; None for the same.
        num_levels: levels, fine to coarse.
    """

    def __init__(
        self, channels: int = 256, out_channels: int | None = None, num_levels: int = 5
    ) -> None:
        super().__init__()
        self.conv = nn.ModuleList(
            nn.Conv2d(channels, out_channels or channels, 3, padding=1) for _ in range(num_levels)
        )

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Levels [B, channels, ., .] -> [B, out_channels, ., .].

        Raises:
            ValueError: if there are not ``num_levels`` levels.
        """
        if len(levels) != len(self.conv):
            raise ValueError(
                f'LevelAdapters has {len(self.conv)} convolutions and got {len(levels)} levels: '
                f'set num_levels={len(levels)}'
            )
        return tuple(conv(level) for conv, level in zip(self.conv, levels, strict=True))


def check_width(tap: str, adapter: nn.Module, heard: Any) -> None:
    """See that a map of tokens is given those of its width.

    Raises:
        UserError: naming the adapter, and for maps of convolutions the layer that fits.
    """
    width = getattr(adapter, 'token_width', None)
    if not width or not isinstance(heard, Tensor) or heard.shape[-1] == width:
        return
    place = f'distillation.adapters.{tap}'
    if heard.ndim == 4:
        raise UserError(
            f'{place} is a {type(adapter).__name__} for tokens of width {width}, and the tap hears '
            f'a map {list(heard.shape)}: if its {heard.shape[1]} channels stand second, set it to '
            f"dict(type='Conv2d', in_channels={heard.shape[1]}, out_channels=..., kernel_size=1); "
            f'if they stand last, set in_channels={heard.shape[-1]}'
        )
    raise UserError(
        f'{place}.in_channels={width}, and the tap hears tokens of width {heard.shape[-1]}: set it '
        f'to {heard.shape[-1]}'
    )
