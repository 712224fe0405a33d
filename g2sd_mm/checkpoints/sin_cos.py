"""Whether a table of positions is the fixed one of sines and cosines that MAE has."""

from __future__ import annotations

import torch
from torch import Tensor


def is_sin_cos(table: Tensor | None) -> bool:
    """True for a table [1, 1 + N, D] of sines and cosines with zeros for the class token.

    Rows and columns of patches fill a half of the channels each, sines first: the squares of a
    half's two quarters sum to one, whichever grid it is and whichever half comes first.
    """
    if table is None or table.ndim != 3 or table.is_meta or not table.is_floating_point():
        return False
    if table.shape[1] < 2 or table.shape[2] % 4 or not table.shape[2] or table[0, 0].any():
        return False
    sin_a, cos_a, sin_b, cos_b = table[0, 1:].float().chunk(4, dim=1)
    ones = torch.stack([sin_a**2 + cos_a**2, sin_b**2 + cos_b**2])
    return bool((ones - 1).abs().max() < 0.02)  # float16 and bfloat16 are that far off
