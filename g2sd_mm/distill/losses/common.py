"""What losses share: a factor on the result, a check of options, divergence of softmaxes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


class FunctionLoss(nn.Module):
    """A pure function of what taps hear, times a factor.

    Args:
        loss_weight: factor on the result.

    Attributes:
        options: further arguments of the function, of a subclass that takes any.
    """

    function: Callable[..., Tensor]

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.options: dict[str, Any] = {}

    def forward(self, *heard: Any, **named: Any) -> Tensor:
        """``student``, ``teacher`` and what ``inputs`` of the config names -> scalar."""
        return self.loss_weight * self.function(*heard, **named, **self.options)


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
