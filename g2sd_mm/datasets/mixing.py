"""Mixup and CutMix whose partner is the flipped batch, as the published recipe has it.

mmpretrain's own draw a random permutation. Flipping pairs every image with another one (in an even
batch), and needs no random index on the device.
"""

from __future__ import annotations

import numpy as np
from mmpretrain.models.utils.batch_augments import CutMix, Mixup
from mmpretrain.registry import BATCH_AUGMENTS
from torch import Tensor


@BATCH_AUGMENTS.register_module()
class FlipMixup(Mixup):
    """``lam * image + (1 - lam) * partner``, one ``lam ~ Beta(alpha, alpha)`` for the batch."""

    def mix(self, batch_inputs: Tensor, batch_scores: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, 3, height, width] and soft targets [B, K] -> the same, mixed."""
        lam = float(np.random.beta(self.alpha, self.alpha))
        return _blend(batch_inputs, lam), _blend(batch_scores, lam)


@BATCH_AUGMENTS.register_module()
class FlipCutMix(CutMix):
    """A box of the partner is pasted into each image; targets are mixed by its area."""

    def mix(self, batch_inputs: Tensor, batch_scores: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, 3, height, width] and soft targets [B, K] -> the same, mixed."""
        lam = np.random.beta(self.alpha, self.alpha)
        (top, bottom, left, right), lam = self.cutmix_bbox_and_lam(batch_inputs.shape[-2:], lam)
        mixed = batch_inputs.clone()
        mixed[:, :, top:bottom, left:right] = batch_inputs.flip(0)[:, :, top:bottom, left:right]
        return mixed, _blend(batch_scores, float(lam))


def _blend(batch: Tensor, lam: float) -> Tensor:
    return lam * batch + (1 - lam) * batch.flip(0)
