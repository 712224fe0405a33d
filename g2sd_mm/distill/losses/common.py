"""What losses share: a factor on the result, a check of options, divergence of softmaxes."""

from __future__ import annotations

from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor, nn


class WeightedLoss(nn.Module):
    """A loss that has no option but the factor on its result."""

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raise ValueError for an option of a loss that is none of its choices."""
    if value not in choices:
        raise ValueError(f'{name}={value!r} is none of {", ".join(choices)}')


def divergence(student: Tensor, teacher: Tensor, dim: int = -1) -> Tensor:
    """Summands of ``KL(softmax(teacher) || softmax(student))`` over ``dim``; as logits are shaped.

    Whoever calls reduces them: torch means to change what its own ``mean`` divides by.
    """
    own, other = (logits.log_softmax(dim=dim) for logits in (student, teacher))
    return F.kl_div(own, other, reduction='none', log_target=True)


def mean_row_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of :func:`divergence` over all rows of logits [..., N]: a scalar."""
    return divergence(student, teacher).sum(dim=-1).mean()
