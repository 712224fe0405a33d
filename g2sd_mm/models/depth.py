"""Depth from the maps of a plain ViT: mmseg's DPT head, and the scale-invariant loss.

Imports mmseg; depth configs have this module among their ``custom_imports``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads import DPTHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..errors import ConfigError

_LEVELS = 4  # blocks whose maps are fused
_LEAST = 1e-12  # of what the loss takes the root of: at 0 the root has no slope


class LogDepth(nn.Module):
    """Scores of any size -> natural logarithm of metres, between those of two depths.

    Equal steps of the score are equal factors of depth, nearly, and depth is never 0 or less. A
    module of its own, so that a tap can listen to it.
    """

    def __init__(self, min_depth: float, max_depth: float) -> None:
        super().__init__()
        self.low, self.span = math.log(min_depth), math.log(max_depth / min_depth)

    def forward(self, scores: Tensor) -> Tensor:
        """[B, 1, height, width] -> the same shape, float32 or wider."""
        wide = scores.to(torch.promote_types(scores.dtype, torch.float32))
        return self.low + self.span * wide.sigmoid()


@MODELS.register_module()
class DPTDepthHead(DPTHead):
    """mmseg's DPT head with one channel, which gives metres.

    The maps of four blocks are brought to four scales, and fused from coarse to fine, each with
    residual convolutions (Ranftl et al. 2021, without the read-out token).

    Args:
        embed_dims: width of the backbone.
        min_depth, max_depth: metres; what is predicted lies between.
        channels: of the fused maps.
        post_process_channels: of the four scales before they are fused, fine to coarse.
        loss_decode: of metres.
        options: of ``DPTHead``.

    Raises:
        ConfigError: for a range of depth that there cannot be.
    """

    def __init__(
        self,
        embed_dims: int,
        min_depth: float,
        max_depth: float,
        channels: int = 256,
        post_process_channels: Sequence[int] = (96, 192, 384, 768),
        loss_decode: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        if not 0 < min_depth < max_depth < math.inf:
            raise ConfigError(
                f'decode_head.min_depth={min_depth!r}, max_depth={max_depth!r}: the first has to '
                'be more than 0 and below the second'
            )
        super().__init__(
            embed_dims=embed_dims,
            post_process_channels=list(post_process_channels),
            in_channels=[embed_dims] * _LEVELS,
            in_index=list(range(_LEVELS)),
            input_transform='multiple_select',
            channels=channels,
            num_classes=1,
            out_channels=1,
            threshold=0.5,  # of binary masks; asked for, not used
            loss_decode=dict(loss_decode or dict(type='ScaleInvariantLogLoss')),
            **options,
        )
        self.log_depth = LogDepth(min_depth, max_depth)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Four maps [B, D, rows, columns] -> metres [B, 1, height, width], finer than the maps."""
        # DPTHead takes pairs of map and class token, and leaves the token out
        return self.log_depth(super().forward([(level, None) for level in inputs])).exp()

    def loss_by_feat(self, depth: Tensor, batch_data_samples: Sequence[Any]) -> dict[str, Tensor]:
        """Compare metres with ``gt_depth_map`` at its size."""
        truth = torch.stack([sample.gt_depth_map.data for sample in batch_data_samples])
        depth = F.interpolate(
            depth, truth.shape[2:], mode='bilinear', align_corners=self.align_corners
        )
        return {self.loss_decode.loss_name: self.loss_decode(depth, truth)}


def scale_invariant_log_loss(
    predicted: Tensor, truth: Tensor, variance_focus: float = 0.5
) -> Tensor:
    """Mean over the images of ``sqrt(mean(d ** 2) - variance_focus mean(d) ** 2)``.

    ``d = ln(predicted / truth)`` at the pixels of an image whose depth is known (Eigen et al. 2014;
    the root as in later work). Images without such a pixel are left out; a batch without any
    gives 0.

    mmseg's ``SiLogLoss`` has the same value where all is well. It has no gradient that is a number
    for a crop without known depth, and leaves out predictions that are no number, so that nobody
    hears of them.

    Args:
        predicted: metres, more than 0, [B, 1, height, width].
        truth: metres of the same shape, 0 where depth is not known.
        variance_focus: 0 is the error of the logarithm, 1 what remains if the scale does not count.

    Returns:
        scalar, at least 1e-6 where there is any pixel.
    """
    wide = torch.promote_types(predicted.dtype, torch.float32)
    predicted, truth = predicted.flatten(1).to(wide), truth.flatten(1).to(wide)
    known = truth > 0
    number = known.sum(dim=1)
    ratio = predicted.log() - truth.masked_fill(~known, 1).log()
    ratio = ratio.masked_fill(~known, 0)
    squares, mean = (x.sum(dim=1) / number.clamp(min=1) for x in (ratio.square(), ratio))
    roots = (squares - variance_focus * mean.square()).clamp(min=_LEAST).sqrt()
    counted = number > 0
    return roots.masked_fill(~counted, 0).sum() / counted.sum().clamp(min=1)


@MODELS.register_module()
class ScaleInvariantLogLoss(nn.Module):
    """:func:`scale_invariant_log_loss` times ``loss_weight``.

    Args:
        variance_focus: see there; 0.5 is Eigen's and mmseg's, 0.85 is found too.
        loss_weight: factor.
        loss_name: under which mmseg logs it.
    """

    def __init__(
        self,
        variance_focus: float = 0.5,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_silog',
    ) -> None:
        super().__init__()
        if not 0 <= variance_focus <= 1:
            raise ConfigError(f'variance_focus={variance_focus!r} lies not between 0 and 1')
        self.variance_focus, self.loss_weight = variance_focus, loss_weight
        self.loss_name = loss_name

    def forward(self, predicted: Tensor, truth: Tensor) -> Tensor:
        """Metres [B, 1, height, width] each -> scalar."""
        value = scale_invariant_log_loss(predicted, truth, self.variance_focus)
        return self.loss_weight * value
