"""Tables of relative-position biases: their layout, and resizing them for another patch grid.

A table for ``rows x columns`` patches has one line for each of the ``(2 rows - 1) * (2 columns -
1)`` offsets between two patches, in raster order from the most negative, then three for the class
token, and one column a head.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from .positions import Grid

#: Lines that are no offset: class token to patch, patch to class token, class token to itself.
CLS_ROWS = 3


def table_rows(grid: Grid) -> int:
    """Lines of the table of a patch grid."""
    return (2 * grid[0] - 1) * (2 * grid[1] - 1) + CLS_ROWS


def table_grid(rows: int) -> Grid:
    """The square patch grid whose table has so many lines.

    Raises:
        ValueError: if there is none.
    """
    side = (round(max(rows - CLS_ROWS, 0) ** 0.5) + 1) // 2
    if table_rows((side, side)) != rows:
        raise ValueError(f'a relative-position table of {rows} rows fits no square patch grid')
    return side, side


def stored_table_grid(rows: int, own: Grid, known: Grid | None = None) -> Grid:
    """The patch grid that a table of so many lines was laid out for.

    What its file says, else a square, else the network's own.

    Raises:
        ValueError: if it is none of these.
    """
    if known is not None and table_rows(known) == rows:
        return known
    try:
        return table_grid(rows)
    except ValueError:
        if table_rows(own) == rows:
            return own
        raise


def resize_relative_table(table: Tensor, old: Grid, new: Grid) -> Tensor:
    """Resize the offset lines of a table [lines, H]; the class token's stay as they are.

    BEiT's rule: near offsets keep their meaning and far ones are stretched, by laying the old
    offsets out in geometric progression over the new range and drawing a cubic spline through them.
    A smaller grid takes the offsets that it has, unstretched. Both are linear in the table, so
    gradients flow through.

    Returns:
        ``table`` itself if the grids agree.
    """
    if old == new:
        return table
    full = torch.promote_types(table.dtype, torch.float32)
    maps = table[:-CLS_ROWS].to(full).reshape(2 * old[0] - 1, 2 * old[1] - 1, -1)
    down, right = (
        torch.from_numpy(_spline_matrix(o, n)).to(device=table.device, dtype=full)
        for o, n in zip(old, new, strict=True)
    )
    maps = torch.einsum('yr,rch,xc->yxh', down, maps, right)
    return torch.cat([maps.flatten(0, 1).to(table.dtype), table[-CLS_ROWS:]])


@torch.compiler.disable  # scipy, and made once
@functools.lru_cache(maxsize=32)
def _spline_matrix(old: int, new: int) -> np.ndarray:
    """Values at the offsets of ``old`` patches -> at those of ``new``: [2 new - 1, 2 old - 1]."""
    wanted = np.arange(-(new - 1), new, dtype=np.float64)
    if new <= old:
        return np.eye(2 * old - 1)[old - new : old + new - 1]
    from scipy.interpolate import make_interp_spline  # slow to import, and rarely needed

    known = _geometric_offsets(old - 1, new - 1)
    if len(known) == 1:
        return np.ones((len(wanted), 1))
    degree = min(3, len(known) - 1)
    spline = make_interp_spline(known, np.eye(len(known)), k=degree)
    return spline(np.clip(wanted, known[0], known[-1]))


def _geometric_offsets(steps: int, reach: int) -> np.ndarray:
    """Where ``steps`` old offsets to either side lie on the new axis: 1, 1 + q, 1 + q + q ** 2, ...

    q is such that the last comes to ``reach``. It is bisected between 1.01 and 1.5 to 1e-6, as in
    the published loaders: their rounding shows in the fifth digit of the resized table.
    """
    low, high = 1.01, 1.5
    while high - low > 1e-6:
        q = (low + high) / 2
        if (1 - q**steps) / (1 - q) > reach:
            high = q
        else:
            low = q
    offsets = np.cumsum(q ** np.arange(steps, dtype=np.float64))
    return np.concatenate([-offsets[::-1], [0.0], offsets])
