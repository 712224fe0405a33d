"""Tensors that cannot be the weights of a trained network: not numbers, not finite, all zero."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ..text import some

#: How the names of weights end; other tensors (indices, counts) may be integers, or zero.
_WEIGHTS = ('weight', 'bias', '_token', 'pos_embed')
#: Those of which a network has nothing left if they are zero. Biases and tables may be.
_NEEDED = ('weight', 'pos_embed')


def defects(state: Mapping[str, Tensor], names: Iterable[str] | None = None) -> list[str]:
    """One phrase for each tensor that no training has left: NaN, infinite, all zero, no floats.

    Reads every value once; tensors on the meta device have none.

    Args:
        state: tensors by name.
        names: those to look at; None for all.
    """
    found = []
    for name in state if names is None else names:
        what = _defect(name, state[name])
        if what:
            found.append(f'{name} {what}')
    return found


def told(found: list[str]) -> str:
    """The phrases of :func:`defects` as one."""
    return f'{len(found)} broken ({some(found)})'


def _defect(name: str, tensor: Tensor) -> str:
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix('torch.')
        return f'is {kind}, not a float' if name.endswith(_WEIGHTS) else ''
    if tensor.is_meta or not tensor.numel():
        return ''
    if tensor.element_size() == 1:
        tensor = tensor.float()  # torch can compare no floats of 8 bits
    if not torch.isfinite(tensor).all():
        return 'has NaN' if torch.isnan(tensor).any() else 'has infinite values'
    if tensor.ndim > 1 and name.endswith(_NEEDED) and not tensor.any():
        return 'is all zeros'
    return ''
