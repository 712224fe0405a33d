"""Feature regression, the loss of generic distillation."""

from __future__ import annotations

import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn


def normalised_target(features: Tensor, eps: float = 1e-6) -> Tensor:
    """LayerNorm over the channels of each token, without affine parameters; same shape."""
    return F.layer_norm(features, features.shape[-1:], eps=eps)


def smooth_l1_feature_loss(student: Tensor, teacher: Tensor, beta: float = 2.0) -> Tensor:
    """Mean over all elements of ``d ** 2 / (2 beta)`` if ``|d| < beta`` else ``|d| - beta / 2``.

    G2SD, stage 1, with beta 2. Against unit-variance targets the best constant prediction scores
    about 0.25.
    """
    return F.smooth_l1_loss(student, teacher, beta=beta)


@MODELS.register_module()
class SmoothL1FeatureLoss(nn.Module):
    """:func:`smooth_l1_feature_loss` of the student's prediction and the normalised target.

    Args:
        beta: where the parabola becomes a line.
        normalise: LayerNorm the teacher's tokens first (without affine parameters).
        loss_weight: factor on the result.
    """

    def __init__(self, beta: float = 2.0, normalise: bool = True, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.beta, self.normalise, self.loss_weight = beta, normalise, loss_weight

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Both [B, N, D] -> scalar."""
        target = normalised_target(teacher) if self.normalise else teacher
        return self.loss_weight * smooth_l1_feature_loss(student, target, self.beta)
