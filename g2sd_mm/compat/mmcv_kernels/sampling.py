"""Ops that sample between pixels: mmcv's functions, computed and differentiated by torchvision.

Each stands in a module of ``mmcv.ops`` for the function of its name, so torch's autograd finds the
gradients, and none of them is written here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torchvision  # noqa: F401  registers the kernels of torch.ops.torchvision
from torch import Tensor
from torch.nn.modules.utils import _pair

from g2sd_mm.compat.mmcv_kernels.boxes import full, full_pair

_vision = torch.ops.torchvision
Sizes = int | tuple[int, int]


def roi_align(
    input: Tensor,
    rois: Tensor,
    output_size: Sizes,
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    pool_mode: str = 'avg',
    aligned: bool = True,
) -> Tensor:
    """Of ``mmcv.ops.roi_align``; only averages."""
    if pool_mode != 'avg':
        raise RuntimeError(
            f'RoIAlign with pool_mode={pool_mode!r} needs the compiled ops of mmcv: the '
            'torchvision-backed fallback of g2sd_mm only averages'
        )
    features, regions = full_pair(input, rois)
    pooled = _vision.roi_align(
        features,
        regions,
        float(spatial_scale),
        *_pair(output_size),
        int(sampling_ratio),
        bool(aligned),
    )
    return pooled.to(input.dtype)


def deform_conv2d(input: Tensor, offset: Tensor, weight: Tensor, *geometry: Any) -> Tensor:
    """Of ``mmcv.ops.deform_conv``: without mask and bias; ``im2col_step`` counts for nothing."""
    return modulated_deform_conv2d(input, offset, None, weight, None, *geometry[:5])


def modulated_deform_conv2d(
    input: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    deform_groups: int = 1,
) -> Tensor:
    """Of ``mmcv.ops.modulated_deform_conv``.

    In the precision of the offsets, which autocast may have changed, as mmcv does it. Of offsets
    and masks of more places than the output has, as DyHead gives them, it reads the first numbers
    of each image, and DyHead's published weights were trained so.
    """
    dtype = offset.dtype
    input, weight, offset = (full(x.to(dtype)) for x in (input, weight, offset))
    geometry = (*_pair(stride), *_pair(padding), *_pair(dilation), groups, deform_groups)
    masked = mask is not None
    if mask is None:
        mask = input.new_zeros(len(input), 1)
    else:
        sizes = zip(input.shape[2:], weight.shape[2:], *(_pair(x) for x in (
            stride, padding, dilation)), strict=True)  # fmt: skip
        places = [(size + 2 * p - d * (k - 1) - 1) // s + 1 for size, k, s, p, d in sizes]
        offset, mask = _first(offset, places), _first(full(mask.to(dtype)), places)
    bias = input.new_zeros(len(weight)) if bias is None else full(bias.to(dtype))
    output = _vision.deform_conv2d(input, weight, offset, mask, bias, *geometry, masked)
    return output.to(dtype)


def _first(values: Tensor, places: Sequence[int]) -> Tensor:
    shape = (*values.shape[:2], *places)
    return values.flatten(1)[:, : math.prod(shape[1:])].view(shape)


class MultiScaleDeformableAttnFunction:
    """Of ``mmcv.ops.multi_scale_deform_attn``: on a GPU too, mmcv's own in plain torch."""

    @staticmethod
    def apply(
        value: Tensor,
        spatial_shapes: Tensor,
        level_start_index: Tensor,
        sampling_locations: Tensor,
        attention_weights: Tensor,
        im2col_step: int,
    ) -> Tensor:
        """The attention output."""
        # imported late: its import is what loads this module
        from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

        locations, weights = (x.type_as(value) for x in (sampling_locations, attention_weights))
        return multi_scale_deformable_attn_pytorch(value, spatial_shapes, locations, weights)
