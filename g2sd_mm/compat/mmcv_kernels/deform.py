"""Sampling kernels: deformable convolution (v1, and v2 with its mask), deformable attention."""

from __future__ import annotations

from typing import Any

import torch
import torchvision  # noqa: F401  registers the kernels of torch.ops.torchvision
from torch import Tensor

from g2sd_mm.compat.mmcv_kernels.boxes import full

_vision = torch.ops.torchvision


def _deform_v1(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    *,
    dH: int,
    dW: int,
    padH: int,
    padW: int,
    dilationH: int,
    dilationW: int,
    group: int,
    deformable_group: int,
    **unused: Any,
) -> tuple[Any, ...]:
    """torchvision's arguments for a convolution without mask and bias."""
    input, weight, offset = full(input), full(weight), full(offset)
    no_mask, no_bias = input.new_zeros(len(input), 1), input.new_zeros(len(weight))
    geometry = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    return input, weight, offset, no_mask, no_bias, *geometry, False


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    **geometry: int,
) -> None:
    """Write the convolution into ``output``."""
    output.copy_(_vision.deform_conv2d(*_deform_v1(input, weight, offset, **geometry)))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **geometry: int,
) -> None:
    """Write the gradients of the input and of the offsets."""
    by_input, _, by_offset, _, _ = _vision._deform_conv2d_backward(
        full(grad_output), *_deform_v1(input, weight, offset, **geometry)
    )
    grad_input.copy_(by_input)
    grad_offset.copy_(by_offset)


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    scale: float,
    **geometry: int,
) -> None:
    """Add ``scale`` times the gradient of the weight to ``grad_weight``."""
    # The weight is not among the arguments; its gradient needs the shape alone.
    _, by_weight, _, _, _ = _vision._deform_conv2d_backward(
        full(grad_output), *_deform_v1(input, grad_weight, offset, **geometry)
    )
    grad_weight.add_(by_weight.to(grad_weight.dtype), alpha=scale)


def _deform_v2(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    offset: Tensor,
    mask: Tensor,
    *,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
    **unused: Any,
) -> tuple[Any, ...]:
    """torchvision's arguments for a convolution with mask and, perhaps, bias."""
    input, weight, offset, mask = full(input), full(weight), full(offset), full(mask)
    bias = full(bias) if with_bias else input.new_zeros(len(weight))
    geometry = (stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group)
    return input, weight, offset, mask, bias, *geometry, True


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    **geometry: Any,
) -> None:
    """Write the convolution into ``output``."""
    output.copy_(_vision.deform_conv2d(*_deform_v2(input, weight, bias, offset, mask, **geometry)))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    with_bias: bool,
    **geometry: Any,
) -> None:
    """Write the gradients of everything that goes in."""
    arguments = _deform_v2(input, weight, bias, offset, mask, with_bias=with_bias, **geometry)
    by_input, by_weight, by_offset, by_mask, by_bias = _vision._deform_conv2d_backward(
        full(grad_output), *arguments
    )
    grad_input.copy_(by_input)
    grad_weight.copy_(by_weight)
    grad_offset.copy_(by_offset)
    grad_mask.copy_(by_mask)
    if with_bias:
        grad_bias.copy_(by_bias)


def ms_deform_attn_forward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """The attention output, by mmcv's own implementation in plain torch."""
    # Imported late: it lives in mmcv.ops, whose import is what loads this module.
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    return multi_scale_deformable_attn_pytorch(
        value, spatial_shapes, sampling_locations, attention_weights
    )


def ms_deform_attn_backward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Write the gradients of the value, the sampling locations and the attention weights."""
    inputs = (value, sampling_locations, attention_weights)
    value, locations, weights = leaves = [x.detach().requires_grad_() for x in inputs]
    with torch.enable_grad():
        output = ms_deform_attn_forward(
            value, spatial_shapes, level_start_index, locations, weights, im2col_step
        )
        gradients = torch.autograd.grad(output, leaves, grad_output)
    targets = (grad_value, grad_sampling_loc, grad_attn_weight)
    for target, gradient in zip(targets, gradients, strict=True):
        target.copy_(gradient)
