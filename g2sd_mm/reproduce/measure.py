"""Size and arithmetic of a deployed network."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def parameters_in_millions(model: nn.Module) -> float:
    """Number of parameters / 1e6."""
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


def gflops(model: nn.Module, image_size: int) -> float:
    """Forward arithmetic of one square image, 1e9 multiply-adds counted as two operations.

    Attention is counted on the unfused kernel, which the counter can see into. Of a detector,
    backbone, pyramid and RPN count: the work of the heads on regions depends on what is found.
    """
    device = next(model.parameters()).device
    image = torch.zeros(1, 3, image_size, image_size, device=device)
    training = model.training
    model.eval()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        if hasattr(model, 'rpn_head'):
            model.rpn_head(model.extract_feat(image))
        else:
            model(image)
    model.train(training)
    return counter.get_total_flops() / 1e9
