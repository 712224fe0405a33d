"""Cross-entropy of large maps of logits in half of the memory.

A map of 150 classes at 512 x 512 px is 157 MB an image in float32. torch keeps one of
log-probabilities for the backward pass, which makes two more: what arrives there, spread over the
classes, and what it hands on. Here the gradient is computed in the forward pass, in the memory of
the log-probabilities, and is scaled in place when its turn comes.
"""

from __future__ import annotations

from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


@MODELS.register_module()
class PixelCrossEntropyLoss(nn.Module):
    """mmseg's ``CrossEntropyLoss`` of class logits.

    Args:
        loss_weight: factor.
        avg_non_ignore: mean over the pixels that are not ignored; else over all of them.
        loss_name: under which mmseg logs it.
    """

    def __init__(
        self, loss_weight: float = 1.0, avg_non_ignore: bool = False, loss_name: str = 'loss_ce'
    ) -> None:
        super().__init__()
        self.loss_weight, self.avg_non_ignore = loss_weight, avg_non_ignore
        self.loss_name = loss_name

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = 255,
    ) -> Tensor:
        """Logits [N, C, H, W] and classes int64 [N, H, W] -> scalar float32.

        Args:
            weight: of the pixels [N, H, W], for heads that sample them.
        """
        losses = pixel_cross_entropy(logits, target, ignore_index)
        losses = losses if weight is None else losses * weight
        if self.avg_non_ignore:
            return self.loss_weight * losses.sum() / (target != ignore_index).sum().clamp(min=1)
        return self.loss_weight * losses.mean()


def pixel_cross_entropy(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    """``- log softmax(logits)`` at the target class, [N, C, H, W] and [N, H, W] -> [N, H, W].

    Computed in float32 or wider; 0 where the target is ``ignore_index``. Differentiable once.
    """
    with torch.autocast(logits.device.type, enabled=False):
        return _PixelCrossEntropy.apply(logits, target, ignore_index)


class _PixelCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        likely = wide.log_softmax(dim=1)
        ignored = target == ignore_index
        index = target.masked_fill(ignored, 0).unsqueeze(1)
        losses = -likely.gather(1, index).squeeze(1).masked_fill_(ignored, 0)
        if ctx.needs_input_grad[0]:
            # of one pixel: probabilities less one at its target
            gradient = likely.exp_()
            gradient.scatter_add_(1, index, gradient.new_full((), -1.0).expand(index.shape))
            ctx.save_for_backward(gradient.masked_fill_(ignored.unsqueeze(1), 0))
            ctx.dtype = logits.dtype
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        # in place: torch refuses to come here a second time, since what it kept has changed
        return gradient.mul_(given.unsqueeze(1)).to(ctx.dtype), None, None
