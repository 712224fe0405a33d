"""Losses of specific distillation on maps: logits of classes, and logarithms of depth."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from .classification import SoftDistillationLoss, soft_distillation_loss
from .common import FunctionLoss


def channel_wise_divergence(
    student: Tensor, teacher: Tensor, tau: float = 1.0, subtract_entropy: bool = False
) -> Tensor:
    """Where in the image each channel is strong, compared (Shu et al. 2021), maps [N, C, H, W].

    Each channel of each image is a distribution over its ``H W`` pixels, p the teacher's and q the
    student's at temperature ``tau``:
    ``tau ** 2 / (N C) sum_{n, c} sum_{h w} - p log q``.

    As in the published code this is the cross-entropy: it has the gradient of the KL divergence,
    but never reaches 0. At best it is the entropy of the teacher's maps, up to ``tau ** 2 ln(H W)``
    (9.70 for 128 x 128 and tau 1). ``subtract_entropy`` makes the value the KL divergence.

    Raises:
        ValueError: if these are no maps, or differ in classes.
    """
    student, teacher = _same_resolution(student, teacher)
    student, teacher = student.flatten(2) / tau, teacher.flatten(2) / tau  # [N, C, H W]
    likely, log_student = teacher.softmax(dim=2), student.log_softmax(dim=2)
    if subtract_entropy:
        log_student = log_student - teacher.log_softmax(dim=2)
    return -(likely * log_student).sum() * tau**2 / (likely.shape[0] * likely.shape[1])


def pixelwise_kl_divergence(
    student: Tensor, teacher: Tensor, tau: float = 1.0, reduction: str = 'mean'
) -> Tensor:
    """``tau ** 2 KL(teacher || student)`` over the classes of each pixel, logits [N, C, H, W].

    Args:
        student, teacher: logits.
        tau: temperature of both softmaxes.
        reduction: ``mean`` over all ``N C H W`` elements (published; C times smaller than a mean
            over pixels), ``sum``, or ``batchmean``, the sum over N.

    Raises:
        ValueError: if these are no maps, or differ in classes.
    """
    return soft_distillation_loss(
        *_same_resolution(student, teacher), tau=tau, reduction=reduction
    )


def _same_resolution(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    if not student.ndim == teacher.ndim == 4 or student.shape[:2] != teacher.shape[:2]:
        raise ValueError(
            f'maps are compared, no tokens: the student\'s is {tuple(student.shape)} and the '
            f'teacher\'s {tuple(teacher.shape)}: both need the same classes, or an adapter on the '
            f'tap, adapters=dict(TAP=dict(type=\'Conv2d\', in_channels={student.shape[1]}, '
            f'out_channels={teacher.shape[1]}, kernel_size=1))'
        )
    return at_finer(student, teacher)


def at_finer(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps at the finer of the two resolutions, as mmseg brings logits to that of the labels.

    Bilinear; a map that has it already stays as it is.
    """
    size = tuple(max(own, other) for own, other in zip(student.shape, teacher.shape, strict=True))
    return _resized(student, size[2:]), _resized(teacher, size[2:])


def _resized(logits: Tensor, size: tuple[int, ...]) -> Tensor:
    if logits.shape[2:] == size:
        return logits
    return F.interpolate(logits, size, mode='bilinear', align_corners=False)


@MODELS.register_module()
class ChannelWiseDivergence(nn.Module):
    """:func:`channel_wise_divergence` times ``loss_weight``.

    Args:
        tau: temperature.
        loss_weight: factor on the result; 3 is what the published command lines set (their config
            files say 10).
        subtract_entropy: report the KL divergence instead of the cross-entropy; same gradient.
    """

    def __init__(
        self, tau: float = 1.0, loss_weight: float = 3.0, subtract_entropy: bool = False
    ) -> None:
        super().__init__()
        self.tau, self.loss_weight, self.subtract_entropy = tau, loss_weight, subtract_entropy

    def forward(
        self, student: Tensor | Sequence[Tensor], teacher: Tensor | Sequence[Tensor]
    ) -> Tensor:
        """Maps [N, C, H, W] each -> scalar; of the levels of a pyramid the sum."""
        sides = [[side] if isinstance(side, Tensor) else side for side in (student, teacher)]
        values = [
            channel_wise_divergence(own, other, self.tau, self.subtract_entropy)
            for own, other in zip(*sides, strict=True)
        ]
        return self.loss_weight * torch.stack(values).sum()


@MODELS.register_module()
class PixelwiseKLDivergence(SoftDistillationLoss):
    """:func:`pixelwise_kl_divergence` times ``loss_weight``."""

    function = staticmethod(pixelwise_kl_divergence)

    def __init__(
        self, tau: float = 1.0, loss_weight: float = 1.0, reduction: str = 'mean'
    ) -> None:
        super().__init__(tau, loss_weight, reduction)


def log_depth_difference(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over all pixels of ``|student - teacher|``, maps [N, 1, H, W] of the logarithm of depth.

    It is a ratio that counts: 10 cm at 1 m as much as 1 m at 10 m. The teacher has an answer for
    every pixel, where measured depth has holes.

    The coarser of two maps is resized to the finer one, bilinearly.

    Raises:
        ValueError: if the maps differ in channels.
    """
    if student.shape[:2] != teacher.shape[:2]:
        raise ValueError(
            f'the student\'s map is {tuple(student.shape)} and the teacher\'s '
            f'{tuple(teacher.shape)}: tap log_depth of a depth head on both sides'
        )
    student, teacher = at_finer(student, teacher)
    return (student - teacher).abs().mean()


@MODELS.register_module()
class LogDepthLoss(FunctionLoss):
    """:func:`log_depth_difference` times ``loss_weight``."""

    function = staticmethod(log_depth_difference)
