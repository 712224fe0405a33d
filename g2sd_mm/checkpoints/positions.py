"""What positions are laid out for: their patch grid, and which way round a fixed table is.

Published MAE tables code the column in the first half of the channels and the row in the second;
mmpretrain's builder has the halves the other way round. A file that joins the weights of one with
the table of the other loads without a word and sees every image mirrored at its diagonal.
"""

from __future__ import annotations

import math
import shlex
from typing import Any

import torch
from torch import Tensor

from ..compat.safe_load import CheckpointError
from .identify import identify
from .layouts.rules import State
from .read import Weights

#: Key and value of a file's ``meta`` that say: these weights were trained with such a table.
TRAINED_TRANSPOSED = {'positions': 'transposed'}
_TABLES = ('pos_embed', 'decoder_pos_embed')


def is_transposed(table: Tensor) -> bool:
    """True for a sin-cos table [1, 1 + N, D] with rows in the first half of the channels.

    No table has to be computed: a half that codes the row is the same all along a row.
    """
    if table.ndim != 3 or not table.numel():
        return False
    side = math.isqrt(table.shape[1] - 1)
    if table.is_meta or side < 2 or side * side != table.shape[1] - 1 or table.shape[2] % 2:
        return False
    patches = table[0, 1:].float().reshape(side, side, 2, -1)
    first, second = patches[:, :, 0], patches[:, :, 1]
    by_row = torch.allclose(first, first[:, :1].expand_as(first), atol=1e-5)
    by_column = torch.allclose(second, second[:1].expand_as(second), atol=1e-5)
    return by_row and by_column and bool(table[0, 1:].std(dim=0).max() > 1e-3)


def transpose_positions(state: State) -> State:
    """Published names, every position embedding with rows and columns of patches exchanged."""
    return {
        name: _exchanged(tensor) if name in _TABLES else tensor for name, tensor in state.items()
    }


def check_positions(weights: Weights, table: Tensor | None) -> None:
    """Refuse a transposed table under published names, unless its file says that it is meant.

    Raises:
        CheckpointError: with the two commands, one of which is right.
    """
    if table is None or not is_transposed(table):
        return
    if identify(weights.state).layout in ('mmpretrain', 'mmseg'):
        return  # their own order: such weights were trained with it
    if weights.meta.get('positions') == TRAINED_TRANSPOSED['positions']:
        return
    raise CheckpointError(
        f"{weights.name}: its sin-cos position embedding is transposed (mmpretrain's order) under "
        "published names; if the weights are MAE's, mend it: python tools/checkpoint.py convert "
        f'{shlex.quote(str(weights.path))} FIXED.pth --to ours --positions transpose; if they were '
        'trained with that table, say so: the same with --positions keep'
    )


def trained_part(model: Any) -> Any:
    """The network that is trained: a distiller's student, pre-training's autoencoder, or itself."""
    return getattr(model, 'student', None) or getattr(model, 'autoencoder', None) or model


def grid_text(model: Any) -> str | None:
    """``rowsxcolumns`` of the patches that a model's positions are laid out for, for ``meta``."""
    part = trained_part(model)
    grid = getattr(getattr(part, 'backbone', part), 'grid_size', None)
    return f'{grid[0]}x{grid[1]}' if isinstance(grid, tuple) and len(grid) == 2 else None


def _exchanged(table: Tensor) -> Tensor:
    side = math.isqrt(table.shape[1] - 1)
    patches = table[:, 1:].reshape(1, side, side, -1).transpose(1, 2).flatten(1, 2)
    return torch.cat([table[:, :1], patches], dim=1)
