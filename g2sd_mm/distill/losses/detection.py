"""Losses of specific distillation on a detector's pyramid and proposals.

Both weigh every place of every level by its feature richness: how sure the teacher's proposal
network is that an object lies there.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor

from .common import FunctionLoss

_LEAST_MASS = 1e-6  # of a level's richness; keeps 0 / 0 out where the teacher sees nothing


def feature_richness(objectness: Tensor) -> Tensor:
    """Largest probability over the anchors of a place: logits [B, A, h, w] -> [B, h, w]."""
    return objectness.sigmoid().amax(dim=1)


def feature_richness_loss(
    student: Sequence[Tensor], teacher: Sequence[Tensor], objectness: Sequence[Tensor]
) -> Tensor:
    """Squared distance of feature vectors, averaged by richness, summed over levels.

    ``sum_l sum(m_l |t_l - s_l| ** 2) / sum(m_l)``: summed, not averaged, over the channels, which
    the published weight of 0.001 is made for. The mean is over the batch of one process.

    Args:
        student: adapted maps [B, C, h, w] a level.
        teacher: the teacher's, of the same shapes.
        objectness: the teacher's logits [B, A, h, w] a level.
    """
    _check_levels(student, teacher)
    _check_levels(student, objectness, channels=False)
    levels = [
        _weighted_mean((t - s).square().sum(dim=1), feature_richness(o))
        for s, t, o in zip(student, teacher, objectness, strict=True)
    ]
    return torch.stack(levels).sum()


def objectness_distillation_loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Binary cross-entropy to the teacher's objectness, averaged by richness, summed over levels.

    Summed over the anchors of a place; computed from logits, so large ones do no harm.

    Args:
        student: logits [B, A, h, w] a level.
        teacher: the teacher's, of the same shapes.
    """
    _check_levels(student, teacher)
    levels = [
        _weighted_mean(
            F.binary_cross_entropy_with_logits(s, t.sigmoid(), reduction='none').sum(dim=1),
            feature_richness(t),
        )
        for s, t in zip(student, teacher, strict=True)
    ]
    return torch.stack(levels).sum()


def _weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Both [B, h, w] -> scalar."""
    return (weights * values).sum() / weights.sum().clamp(min=_LEAST_MASS)


def _check_levels(
    student: Sequence[Tensor], teacher: Sequence[Tensor], channels: bool = True
) -> None:
    def shapes(levels: Sequence[Tensor]) -> list[tuple[int, ...]]:
        return [tuple(x.shape) if channels else (len(x), *x.shape[2:]) for x in levels]

    if shapes(student) != shapes(teacher):
        raise ValueError(
            'student and teacher must have the same pyramid, level by level: the student has '
            f'{shapes(student)}, the teacher {shapes(teacher)}'
        )


@MODELS.register_module()
class FeatureRichnessLoss(FunctionLoss):
    """:func:`feature_richness_loss` times ``loss_weight``.

    Use ``inputs=dict(objectness='teacher.TAP')`` with a tap on the teacher's objectness layer.
    """

    function = staticmethod(feature_richness_loss)


@MODELS.register_module()
class ObjectnessDistillationLoss(FunctionLoss):
    """:func:`objectness_distillation_loss` times ``loss_weight``."""

    function = staticmethod(objectness_distillation_loss)
