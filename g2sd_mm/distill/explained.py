"""How much of a target a student predicts: a number that says whether a loss is a good one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def explained_variance(predicted: Tensor, target: Tensor) -> Tensor:
    """Share of the target's variance that a prediction explains, ``1 - error / variance``.

    The error is the mean of ``(predicted - target) ** 2`` over all tokens and channels; the
    variance that of ``(target - mean) ** 2``, with the mean of each channel over all tokens of the
    batch. So 1 is perfect, 0 what the best constant token gives, and below 0 is worse than that.

    Args:
        predicted: [..., channels], any floating type.
        target: the same shape, standardised as in the loss.

    Returns:
        float32 scalar without a gradient; 0 for a target that is the same everywhere. On the
        device of the target, which is not waited for.
    """
    predicted, target = predicted.detach().flatten(0, -2), target.flatten(0, -2)
    with torch.autocast(target.device.type, enabled=False):
        target = target.float()
        error = F.mse_loss(predicted.float(), target)
        # var(dim=0) would take ten times as long on a CPU
        variance = F.mse_loss(target, target.mean(dim=0).expand_as(target))
    return torch.where(variance > 0, 1 - error / variance, torch.zeros_like(error))


def figure_names(losses: Sequence[str]) -> dict[str, str]:
    """Loss -> the name that its figure is logged under; of several, each with the loss's own.

    Without "loss": mmengine adds up whatever has that in its name.
    """
    if len(losses) == 1:
        return {losses[0]: 'explained_variance'}
    names: dict[str, str] = {}
    for loss in losses:
        parts = loss.replace('loss', '').split('_')
        name = '_'.join(['explained_variance', *filter(None, parts)])
        while name in names.values():  # a_loss and loss_a
            name += '_2'
        names[loss] = name
    return names
