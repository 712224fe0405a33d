"""In which precision the kernels compute."""

import torch
from torch import Tensor

from g2sd_mm import precision

__all__ = ['full', 'full_pair']


def full(tensor: Tensor) -> Tensor:
    """The tensor in a precision that torchvision's kernels know on every device."""
    tensor = precision.full(tensor) if tensor.is_floating_point() else tensor.float()
    return tensor.contiguous()


def full_pair(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Both tensors in the wider of their full precisions: the kernels take no mixture."""
    first, second = full(first), full(second)
    dtype = torch.promote_types(first.dtype, second.dtype)
    return first.to(dtype), second.to(dtype)
