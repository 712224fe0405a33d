"""Pooling of regions of interest."""

from math import ceil, floor

import torch
import torchvision  # noqa: F401  registers the kernels of torch.ops.torchvision
from torch import Tensor

from g2sd_mm.compat.mmcv_kernels.boxes import full_pair

_vision = torch.ops.torchvision


def _only_average(pool_mode: int) -> None:
    if pool_mode != 1:
        raise RuntimeError(
            "RoIAlign with pool_mode='max' needs the compiled ops of mmcv: the "
            'torchvision-backed fallback of g2sd_mm only averages'
        )


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the pooled features into ``output``. The argmax tensors belong to max pooling."""
    _only_average(pool_mode)
    if rois.numel() == 0:
        return
    features, rois = full_pair(input, rois)
    pooled = _vision.roi_align(
        features,
        rois,
        float(spatial_scale),
        aligned_height,
        aligned_width,
        int(sampling_ratio),
        bool(aligned),
    )
    output.copy_(pooled)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the gradient of the features into ``grad_input``."""
    _only_average(pool_mode)
    if rois.numel() == 0:
        return
    grad_output, rois = full_pair(grad_output, rois)
    gradient = _vision._roi_align_backward(
        grad_output,
        rois,
        float(spatial_scale),
        aligned_height,
        aligned_width,
        *grad_input.shape,
        int(sampling_ratio),
        bool(aligned),
    )
    grad_input.copy_(gradient)


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Write bin maxima into ``output`` and their flat positions (-1: empty bin) into ``argmax``.

    mmcv does not round a RoI to the grid before it cuts the bins, torchvision does; that is why
    torchvision's kernel does not serve here.
    """
    height, width = input.shape[-2:]
    output.zero_()
    argmax.fill_(-1)
    for index, (image, x1, y1, x2, y2) in enumerate(rois.tolist()):
        rows = _bins(y1 * spatial_scale, (y2 + 1) * spatial_scale, pooled_height, height)
        columns = _bins(x1 * spatial_scale, (x2 + 1) * spatial_scale, pooled_width, width)
        for i, (top, bottom) in enumerate(rows):
            for j, (left, right) in enumerate(columns):
                if bottom <= top or right <= left:
                    continue
                window = input[int(image), :, top:bottom, left:right]
                output[index, :, i, j], where = window.flatten(1).max(dim=1)
                row, column = top + where // (right - left), left + where % (right - left)
                argmax[index, :, i, j] = (row * width + column).to(argmax.dtype)


def _bins(start: float, stop: float, count: int, size: int) -> list[tuple[int, int]]:
    """Grid cells ``[first, last)`` of each of ``count`` bins between two coordinates."""
    if stop <= start:
        return []
    step = (stop - start) / count
    edges = ((floor(start + i * step), ceil(start + (i + 1) * step)) for i in range(count))
    return [(min(max(first, 0), size), min(max(last, 0), size)) for first, last in edges]


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Write the gradient of the features into ``grad_input``."""
    positions = argmax.flatten(2).long()
    gradient = grad_output.flatten(2) * (positions >= 0)
    summed = torch.zeros_like(grad_input).flatten(2)
    for index, image in enumerate(rois[:, 0].long().tolist()):
        summed[image].scatter_add_(1, positions[index].clamp(min=0), gradient[index])
    grad_input.copy_(summed.view_as(grad_input))
