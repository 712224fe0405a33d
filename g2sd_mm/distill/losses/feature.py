"""Losses on tokens: a student's prediction of a teacher's features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.registry import MODELS
from torch import Tensor, nn

from ...errors import UserError
from ...models.masking import Masking
from ..teachers.protocol import Features
from .alignment import TOKENS, align, select_tokens
from .common import check_choice
from .standardisation import build_target, measured_target

_KINDS = ('cls', 'patches')


def smooth_l1_feature_loss(student: Tensor, teacher: Tensor, beta: float = 2.0) -> Tensor:
    """Mean over all elements of ``d ** 2 / (2 beta)`` if ``|d| < beta`` else ``|d| - beta / 2``.

    G2SD, stage 1, with beta 2. Against unit-variance targets the best constant prediction scores
    about 0.25.
    """
    return F.smooth_l1_loss(student, teacher, beta=beta)


def cosine_feature_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over all tokens [..., C] of one minus the cosine of prediction and target."""
    return (1 - F.cosine_similarity(student, teacher, dim=-1)).mean()


def unit_l1_feature_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean absolute difference of the elements of tokens [..., C] at unit length (DMAE)."""
    return F.l1_loss(F.normalize(student, dim=-1), F.normalize(teacher, dim=-1))


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


class TokenLoss(nn.Module):
    """What losses on tokens share: targets, which tokens are compared, and their weights.

    Args:
        target: how the teacher's tokens are standardised: ``layernorm``, without affine parameters;
            ``mean_std`` or ``phi_s``, by statistics of the teacher; or ``none``. A mapping has
            arguments beside: ``dict(type='mean_std', updates=500)``, see :mod:`.standardisation`.
        tokens: those that are compared: ``all`` of them with the class token (published),
            ``masked`` patches only, all ``patches`` without the class token, or ``cls`` alone.
        token_weights: weights of class token and patches apart, ``dict(cls=1.0, patches=1.0)``: the
            loss is then the weighted sum of a mean over the class tokens and one over the patches.
            None is one mean over all tokens. For ``tokens='all'``.
        loss_weight: factor on the result.

    Both networks' tokens are put in one order by :func:`~.alignment.align`. Where one of them has
    no class token, patches are compared; the log says so once.
    """

    takes_features = True  # a teacher's, to put the student's tokens beside them
    any_widths = False  # whether tokens of two widths can be compared

    def __init__(
        self,
        target: str | Mapping[str, Any] = 'none',
        tokens: str = 'all',
        token_weights: Mapping[str, float] | None = None,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.target = build_target(target)
        check_choice('tokens', tokens, TOKENS)
        for kind in token_weights or ():
            check_choice('token_weights', kind, _KINDS)
        if token_weights is not None and tokens != 'all':
            raise ValueError(
                f"token_weights={dict(token_weights)} are for tokens='all', not {tokens!r}: leave "
                'them out and set loss_weight'
            )
        self.tokens, self.loss_weight = tokens, loss_weight
        self.token_weights = None if token_weights is None else dict(token_weights)
        self._said = False

    @property
    def needs_view(self) -> bool:
        """Whether the loss cannot be computed without the masking."""
        return self.tokens == 'masked'

    def distance(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Mean over tokens, [B, n, D] and [B, n, C] -> scalar."""
        raise NotImplementedError

    def measure(
        self, update: int, student: Tensor, teacher: Tensor | Features, view: Masking | None = None
    ) -> None:
        """Let a target that is measured see what the teacher answered, before the loss does.

        Args:
            update: optimizer updates so far.
            student, teacher, view: as in :meth:`forward`.
        """
        if (target := measured_target(self)) and not target.is_settled:
            aligned = self._align(student, teacher, view)
            target.measure(aligned.teacher, aligned.first, update)

    def forward(
        self, student: Tensor, teacher: Tensor | Features, view: Masking | None = None
    ) -> Tensor:
        """Tokens of both, see :func:`~.alignment.align`, and the masking -> scalar.

        Raises:
            UserError: for tokens of two widths, which torch would stretch if one is 1, and for
                weights of class tokens alone where there are none.
        """
        if self.token_weights is None:
            compared = self.compared(student, teacher, view)
            self._check_widths(*compared)
            return self.loss_weight * self.distance(*compared)
        predicted, target, first = self._standardised(student, teacher, view)
        self._check_widths(predicted, target)
        parts = {'cls': slice(0, first), 'patches': slice(first, None)}
        weighted = [
            weight * self.distance(predicted[:, parts[kind]], target[:, parts[kind]])
            for kind, weight in self.token_weights.items()
            if first or kind == 'patches'
        ]
        if not weighted:
            raise UserError('token_weights has cls alone, and a network has no class token')
        return self.loss_weight * sum(weighted[1:], start=weighted[0])

    def _check_widths(self, predicted: Tensor, target: Tensor) -> None:
        own, wanted = predicted.shape[-1], target.shape[-1]
        if own != wanted and not self.any_widths:
            raise UserError(
                f'{type(self).__name__} compares tokens of width {own} of the student with those '
                f'of width {wanted} of the teacher: set out_channels={wanted} of the adapter of '
                'their tap (distillation.adapters.TAP), or give it one'
            )

    def _align(self, student: Tensor, teacher: Tensor | Features, view: Masking | None) -> Any:
        aligned = align(student, teacher, view, masked=self.tokens == 'masked')
        if aligned.lacking and not self._said and self.tokens == 'all':
            self._said = True
            print_log(
                f'the {aligned.lacking} has no class token: {type(self).__name__} compares the '
                'patches alone',
                logger='current',
            )
        return aligned

    def _standardised(
        self, student: Tensor, teacher: Tensor | Features, view: Masking | None
    ) -> tuple[Tensor, Tensor, int]:
        """Prediction and target of all tokens, and how many class tokens are in front."""
        aligned = self._align(student, teacher, view)
        target = self.target(aligned.teacher.to(aligned.student.dtype), aligned.first)
        return aligned.student, target, aligned.first

    def compared(
        self, student: Tensor, teacher: Tensor | Features, view: Masking | None
    ) -> tuple[Tensor, Tensor]:
        """Prediction and target of the tokens that count."""
        *both, first = self._standardised(student, teacher, view)
        predicted, target = (select_tokens(t, self.tokens, view, first) for t in both)
        return predicted, target


class RegressionLoss(TokenLoss):
    """A loss that is zero where the prediction is the target; arguments of :class:`TokenLoss`.

    For those ``of_directions`` lengths do not count.
    """

    of_directions = False

    def explained_variance(
        self, student: Tensor, teacher: Tensor | Features, view: Masking | None = None
    ) -> Tensor:
        """See :func:`explained_variance`, of what is compared; of directions at unit length."""
        predicted, target = self.compared(student, teacher, view)
        if self.of_directions:
            predicted, target = F.normalize(predicted, dim=-1), F.normalize(target, dim=-1)
        return explained_variance(predicted, target)


@MODELS.register_module()
class SmoothL1FeatureLoss(RegressionLoss):
    """:func:`smooth_l1_feature_loss` of the student's prediction and the standardised target.

    Args:
        beta: where the parabola becomes a line.
        target, tokens, token_weights, loss_weight: see :class:`TokenLoss`.
    """

    def __init__(
        self,
        beta: float = 2.0,
        target: str | Mapping[str, Any] = 'layernorm',
        **options: Any,
    ) -> None:
        super().__init__(target, **options)
        self.beta = beta

    def distance(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Smooth L1 of the elements."""
        return smooth_l1_feature_loss(predicted, target, self.beta)


@MODELS.register_module()
class MSEFeatureLoss(RegressionLoss):
    """Mean over all elements of the squared difference; arguments of :class:`TokenLoss`."""

    def distance(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Squared error of the elements."""
        return F.mse_loss(predicted, target)


@MODELS.register_module()
class CosineFeatureLoss(RegressionLoss):
    """:func:`cosine_feature_loss` of prediction and target; arguments of :class:`TokenLoss`."""

    of_directions = True

    def distance(self, predicted: Tensor, target: Tensor) -> Tensor:
        """One minus the cosine of the tokens."""
        return cosine_feature_loss(predicted, target)


@MODELS.register_module()
class UnitL1FeatureLoss(RegressionLoss):
    """:func:`unit_l1_feature_loss` of prediction and target; arguments of :class:`TokenLoss`."""

    of_directions = True

    def distance(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Absolute difference of the tokens at unit length."""
        return unit_l1_feature_loss(predicted, target)


@MODELS.register_module()
class CosineSmoothL1FeatureLoss(RegressionLoss):
    """``cosine * (1 - cos) + smooth_l1 * smoothL1`` (EUPE for patches; UNIC with halves).

    Args:
        cosine, smooth_l1: weights of :func:`cosine_feature_loss` and
            :func:`smooth_l1_feature_loss`.
        beta: of the latter.
        options: of :class:`TokenLoss`.
    """

    def __init__(
        self, cosine: float = 0.9, smooth_l1: float = 0.1, beta: float = 1.0, **options: Any
    ) -> None:
        super().__init__(**options)
        self.cosine, self.smooth_l1, self.beta = cosine, smooth_l1, beta

    def distance(self, predicted: Tensor, target: Tensor) -> Tensor:
        """The mix of both."""
        by_angle = cosine_feature_loss(predicted, target)
        by_value = smooth_l1_feature_loss(predicted, target, self.beta)
        return self.cosine * by_angle + self.smooth_l1 * by_value
