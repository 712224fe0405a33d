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


def any_not_finite(tensors: Sequence[Tensor]) -> Tensor:
    """1.0 if there is a number that is not finite, else 0.0, without waiting for the device.

    Looks at the largest magnitude of each tensor, since a sum of squares could overflow. Of tensors
    that are sharded over processes, all parts count.
    """
    floats = [t.detach() for t in tensors if t.is_floating_point() and t.numel()]
    if not floats:
        return torch.zeros(())
    largest = [torch.linalg.vector_norm(tensor, math.inf).float() for tensor in floats]
    whole = [t.full_tensor() if hasattr(t, 'full_tensor') else t for t in largest]
    return 1.0 - torch.stack(whole).isfinite().all().float()


def all_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether every number is finite; the device is waited for once."""
    return not any_not_finite(tensors).item()
