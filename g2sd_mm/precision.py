"""To full precision: what half-precision networks compute, as float32 for losses and boxes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

_HALF = (torch.float16, torch.bfloat16)


def full(value: Any) -> Any:
    """Half-precision tensors as float32, in any nesting of dicts, lists and tuples.

    All else stays as it is: float64 networks stay in float64.
    """
    if isinstance(value, Tensor):
        return value.float() if value.dtype in _HALF else value
    if isinstance(value, Mapping):
        return {key: full(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, '_fields'):
        return type(value)(*map(full, value))
    return type(value)(map(full, value)) if isinstance(value, (list, tuple)) else value
