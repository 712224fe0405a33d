"""Losses of specific distillation on class logits."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from .common import FunctionLoss, check_choice, divergence

_REDUCTIONS = ('mean', 'sum', 'batchmean')


def hard_distillation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Cross-entropy of the student's logits to the teacher's most likely class, both [B, K].

    No temperature, no smoothing (DeiT, Touvron et al. 2021, "hard-label distillation").
    """
    return F.cross_entropy(student, teacher.argmax(dim=1))


def nkd_loss(
    student: Tensor, teacher: Tensor, target: Tensor, alpha: float = 1.0, tau: float = 1.0
) -> Tensor:
    """Normalised knowledge distillation (Yang et al. 2023) of logits [B, K].

    With ``y``, ``t`` the softmax of student and teacher, ``g`` the target class and hats the
    softmax over the other classes at temperature ``tau``:
    ``- mean t_g log y_g - alpha tau ** 2 mean sum_{c != g} that_c log yhat_c``.

    Args:
        student, teacher: logits [B, K].
        target: class numbers int64 [B], or soft targets [B, K], of which the largest counts.
        alpha: weight of the second term.
        tau: temperature of the second term.
    """
    label = (target.argmax(dim=1) if target.ndim == 2 else target).unsqueeze(1)  # [B, 1]
    likely = teacher.softmax(dim=1).gather(1, label)
    on_target = -(likely * student.log_softmax(dim=1).gather(1, label)).mean()

    others = torch.ones_like(student, dtype=torch.bool).scatter(1, label, False)
    K = student.shape[1]
    student_others = (student / tau)[others].reshape(-1, K - 1).log_softmax(dim=1)
    teacher_others = (teacher / tau)[others].reshape(-1, K - 1).softmax(dim=1)
    off_target = -(teacher_others * student_others).sum(dim=1).mean()
    return on_target + alpha * tau**2 * off_target


@MODELS.register_module()
class HardDistillationLoss(FunctionLoss):
    """:func:`hard_distillation_loss` times ``loss_weight``."""

    function = staticmethod(hard_distillation_loss)


@MODELS.register_module()
class NKDLoss(FunctionLoss):
    """:func:`nkd_loss` times ``loss_weight``; the target comes from the batch.

    Use ``inputs=dict(target=('batch.gt_score', 'batch.gt_label'))`` and give the student's own head
    a loss of weight 0: this loss replaces it.
    """

    function = staticmethod(nkd_loss)

    def __init__(self, alpha: float = 1.0, tau: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        self.options = {'alpha': alpha, 'tau': tau}


def soft_distillation_loss(
    student: Tensor,
    teacher: Tensor,
    tau: Tensor | float = 1.0,
    teacher_tau: Tensor | float | None = None,
    reduction: str = 'batchmean',
) -> Tensor:
    """``tau teacher_tau KL(softmax(teacher / teacher_tau) || softmax(student / tau))``.

    Hinton et al. (2015), where both temperatures are one.

    Args:
        student, teacher: logits [B, K], or maps of them [B, K, height, width].
        tau: temperature of the student, and of the teacher if ``teacher_tau`` is None.
        teacher_tau: temperature of the teacher.
        reduction: of the sum over all elements: ``batchmean`` divides it by the images, ``mean`` by
            the elements, which is K times smaller (TinyBERT); or ``sum``.
    """
    teacher_tau = tau if teacher_tau is None else teacher_tau
    total = divergence(student / tau, teacher / teacher_tau, dim=1).sum()
    parts = {'mean': student.numel(), 'sum': 1, 'batchmean': len(student)}
    return tau * teacher_tau * total / parts[reduction]


@MODELS.register_module()
class SoftDistillationLoss(FunctionLoss):
    """:func:`soft_distillation_loss` at one temperature, times ``loss_weight``."""

    function: Callable[..., Tensor] = staticmethod(soft_distillation_loss)

    def __init__(
        self, tau: float = 1.0, loss_weight: float = 1.0, reduction: str = 'batchmean'
    ) -> None:
        super().__init__(loss_weight)
        check_choice('reduction', reduction, _REDUCTIONS)
        self.options = {'tau': tau, 'reduction': reduction}


@MODELS.register_module()
class MetaSoftDistillationLoss(nn.Module):
    """:func:`soft_distillation_loss` whose two temperatures are adapted while it trains.

    A :class:`~g2sd_mm.distill.meta.MetaTemperatureHook` adapts them; they are buffers (as
    logarithms), so they are in training checkpoints, and no optimizer sees them.

    Args:
        tau: both temperatures at the start.
        loss_weight: factor on the result.
    """

    log_tau: Tensor  # of student and teacher

    def __init__(self, tau: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.register_buffer('log_tau', torch.full((2,), math.log(tau)))

    def forward(
        self, student: Tensor, teacher: Tensor, log_tau: Tensor | None = None
    ) -> Tensor:
        """Logits [B, K] each -> scalar; at other temperatures [2] if they are given."""
        own, other = (self.log_tau if log_tau is None else log_tau).exp().unbind()
        return self.loss_weight * soft_distillation_loss(student, teacher, own, other)
