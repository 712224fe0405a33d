"""Losses of specific distillation on depth."""

from __future__ import annotations

from mmengine.registry import MODELS
from torch import Tensor, nn

from .segmentation import at_finer


def log_depth_difference(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over all pixels of ``|student - teacher|``, maps [N, 1, H, W] of the logarithm of depth.

    It is a ratio that counts: 10 cm at 1 m as much as 1 m at 10 m. The teacher has an answer for
    every pixel, where measured depth has holes.

    The coarser of two maps is resized to the finer one, bilinearly.

    Returns:
        scalar.

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
class LogDepthLoss(nn.Module):
    """:func:`log_depth_difference` times ``loss_weight``."""

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Logarithms of depth [N, 1, H, W] each -> scalar."""
        return self.loss_weight * log_depth_difference(student, teacher)
