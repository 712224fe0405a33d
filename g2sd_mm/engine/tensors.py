"""Questions about tensors in any nesting."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in dicts, lists and tuples, in their order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from tensors_in(part)


def as_number(value: Tensor | float) -> float:
    """A number, or a tensor of one."""
    return value.item() if isinstance(value, Tensor) else float(value)


def all_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether every number is finite; the device is waited for once.

    Looks at the largest magnitude of each tensor, since a sum of squares could overflow.
    """
    floats = [t.detach() for t in tensors if t.is_floating_point() and t.numel()]
    if not floats:
        return True
    largest = [torch.linalg.vector_norm(tensor, math.inf).float() for tensor in floats]
    return bool(torch.stack(largest).isfinite().all())
