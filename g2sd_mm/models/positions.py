"""Absolute position embeddings: fixed 2-D sin-cos, and resizing of learned or fixed ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Grid = tuple[int, int]


def sincos_position_embedding(dim: int, grid: Grid, cls_token: bool = True) -> Tensor:
    """Fixed 2-D sin-cos position embedding in the layout of the published MAE checkpoints.

    The first half of the channels encodes the column, the second half the row; within each half
    all sines come before all cosines, at frequencies ``10000 ** (-k / (dim / 4))``. (mmpretrain's
    builder has the halves the other way round: its table is the transposed grid.)

    Args:
        dim: channels, a multiple of 4.
        grid: rows and columns of patches.
        cls_token: prepend an all-zero row for the class token.

    Returns:
        float32 ``[1, cls + rows * columns, dim]``, patches in raster order.

    Raises:
        ValueError: if ``dim`` is not a multiple of 4.
    """
    if dim % 4:
        raise ValueError(f'a 2-D sin-cos embedding needs a multiple of 4 channels, got {dim}')
    rows, columns = grid
    frequencies = 10000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim / 4))
    y, x = torch.meshgrid(
        torch.arange(rows, dtype=torch.float64),
        torch.arange(columns, dtype=torch.float64),
        indexing='ij',
    )
    halves = []
    for coordinate in (x, y):
        angles = coordinate.reshape(-1, 1) * frequencies  # [rows * columns, dim / 4]
        halves += [angles.sin(), angles.cos()]
    table = torch.cat(halves, dim=1)
    if cls_token:
        table = torch.cat([table.new_zeros(1, dim), table])
    return table.float().unsqueeze(0)


def square_grid(tokens: int) -> Grid:
    """Rows and columns of a square patch grid that holds ``tokens`` patches.

    Raises:
        ValueError: if ``tokens`` is not a square number.
    """
    side = round(tokens**0.5)
    if side * side != tokens:
        raise ValueError(f'{tokens} patch positions do not form a square grid')
    return side, side


def resize_positions(embedding: Tensor, old: Grid, new: Grid) -> Tensor:
    """Resize the patch rows of a position embedding; leading extra rows (cls) are kept as they are.

    Bicubic, ``align_corners=False``, the rule of every published checkpoint loader.

    Args:
        embedding: ``[1, extra + old rows * old columns, dim]``.
        old: its patch grid.
        new: the wanted patch grid.

    Returns:
        ``[1, extra + new rows * new columns, dim]``, same dtype; ``embedding`` itself if the grids
        agree.
    """
    if old == new:
        return embedding
    extra = embedding.shape[1] - old[0] * old[1]
    kept, patches = embedding[:, :extra], embedding[:, extra:]
    maps = patches.reshape(1, *old, -1).permute(0, 3, 1, 2)
    dtype = maps.dtype
    if dtype in (torch.float16, torch.bfloat16):
        maps = maps.float()  # bicubic weights are too coarse in half precision
    maps = F.interpolate(maps, size=new, mode='bicubic', align_corners=False).to(dtype)
    return torch.cat([kept, maps.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)
