"""Sigmoid focal loss."""

import torch
from torch import Tensor

from g2sd_mm.compat.mmcv_kernels.precision import full

__all__ = [
    'sigmoid_focal_loss_backward',
    'sigmoid_focal_loss_forward',
]

_TINY = torch.finfo(torch.float32).tiny


def _focal_terms(input: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities, where the target class is, and the weight of each row."""
    probability = full(input).sigmoid()
    classes = torch.arange(input.size(1), device=input.device)
    positive = target.view(-1, 1) == classes
    if weight.numel() == 0:
        return probability, positive, probability.new_ones(())
    background = weight.new_ones(1)
    row_weight = torch.cat([weight, background]).to(probability.dtype)[target].view(-1, 1)
    return probability, positive, row_weight


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Write the loss of each (row, class) into ``output``; target ``C`` means background."""
    p, positive, row_weight = _focal_terms(input, target, weight)
    hit = -alpha * (1 - p) ** gamma * p.clamp(min=_TINY).log()
    miss = -(1 - alpha) * p**gamma * (1 - p).clamp(min=_TINY).log()
    output.copy_(torch.where(positive, hit, miss) * row_weight)


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write the derivative of each loss by its logit into ``grad_input``."""
    p, positive, row_weight = _focal_terms(input, target, weight)
    log_p, log_q = p.clamp(min=_TINY).log(), (1 - p).clamp(min=_TINY).log()
    hit = -alpha * (1 - p) ** gamma * (1 - p - gamma * p * log_p)
    miss = -(1 - alpha) * p**gamma * (gamma * (1 - p) * log_q - p)
    grad_input.copy_(torch.where(positive, hit, miss) * row_weight)
