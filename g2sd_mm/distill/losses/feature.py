"""Feature regression, the loss of generic distillation."""

from __future__ import annotations

import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from ...models.masking import Masking
from ..explained import explained_variance
from .targets import TARGETS, TOKENS, check_choice, select_tokens


def smooth_l1_feature_loss(student: Tensor, teacher: Tensor, beta: float = 2.0) -> Tensor:
    """Mean over all elements of ``d ** 2 / (2 beta)`` if ``|d| < beta`` else ``|d| - beta / 2``.

    G2SD, stage 1, with beta 2. Against unit-variance targets the best constant prediction scores
    about 0.25.
    """
    return F.smooth_l1_loss(student, teacher, beta=beta)


@MODELS.register_module()
class SmoothL1FeatureLoss(nn.Module):
    """:func:`smooth_l1_feature_loss` of the student's prediction and the standardised target.

    Args:
        beta: where the parabola becomes a line.
        target: how the teacher's tokens are standardised: ``layernorm``, without affine parameters,
            or ``none``.
        tokens: those that are compared: ``all`` of them with the class token (published),
            ``masked`` patches only, or all ``patches`` without the class token.
        loss_weight: factor on the result.
    """

    def __init__(
        self,
        beta: float = 2.0,
        target: str = 'layernorm',
        tokens: str = 'all',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        check_choice('target', target, TARGETS)
        check_choice('tokens', tokens, TOKENS)
        self.beta, self.target, self.tokens = beta, target, tokens
        self.loss_weight = loss_weight

    @property
    def needs_view(self) -> bool:
        """Whether the masking is asked for."""
        return self.tokens == 'masked'

    def forward(self, student: Tensor, teacher: Tensor, view: Masking | None = None) -> Tensor:
        """Both [B, N, D], class token first, and the masking -> scalar."""
        predicted, target = self._compared(student, teacher, view)
        return self.loss_weight * smooth_l1_feature_loss(predicted, target, self.beta)

    def explained_variance(
        self, student: Tensor, teacher: Tensor, view: Masking | None = None
    ) -> Tensor:
        """See :func:`~g2sd_mm.distill.explained.explained_variance`, of what is compared."""
        return explained_variance(*self._compared(student, teacher, view))

    def _compared(
        self, student: Tensor, teacher: Tensor, view: Masking | None
    ) -> tuple[Tensor, Tensor]:
        predicted, target = (select_tokens(t, self.tokens, view) for t in (student, teacher))
        return predicted, TARGETS[self.target](target.to(predicted.dtype))
