"""Attention with a learned bias for every relative position, on the fused kernels (BEiT layout).

A mask that requires a gradient makes torch leave its fused CPU kernel, which then keeps several
B x H x N x N arrays for the backward pass. Here the mask is given to the kernel as a constant, and
:class:`_BiasedAttention` computes all gradients, the table's among them, a few heads at a time.
Shapes: B images, H heads, N tokens (the class token first), d channels of a head.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .positions import Grid
from .vit import Attention

# A table for ``rows x columns`` patches has one line for each of the ``(2 rows - 1) * (2 columns -
# 1)`` offsets between two patches, in raster order from the most negative, then three for the class
# token, and one column a head.

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


#: Elements of one N x N working array of the backward pass. On CPUs the caches decide; GPUs want
#: few large steps, here of 128 MB in float32.
_CHUNK = {'cpu': 2**22}
_LARGE_CHUNK = 2**25

_indices: dict[tuple[Grid, torch.device], Tensor] = {}
_MOST_INDICES = 8
_is_exporting = getattr(torch.compiler, 'is_exporting', lambda: False)  # torch 2.7


class TableAttention(Attention):
    """Self-attention plus ``relative_position_bias_table``, one row per offset and column per head.

    Args:
        dim: channels.
        num_heads: heads H.
        grid_size: patch rows and columns that the table is laid out for. On any other grid the
            table is resized at run time, by the rule that loading a checkpoint uses.
    """

    def __init__(self, dim: int, num_heads: int, grid_size: Grid) -> None:
        super().__init__(dim, num_heads)
        self.grid_size = grid_size
        # zeros: at the start of training this is plain attention
        self.relative_position_bias_table = nn.Parameter(
            torch.zeros(table_rows(grid_size), num_heads)
        )

    def attend(self, q: Tensor, k: Tensor, v: Tensor, grid: Grid | None) -> Tensor:
        """softmax(q k' / sqrt(d) + bias) v, each [B, H, 1 + rows * columns, d]."""
        grid = grid or self.grid_size
        table = resize_relative_table(self.relative_position_bias_table, self.grid_size, grid)
        if torch.is_grad_enabled() and table.requires_grad:
            return _BiasedAttention.apply(q, k, v, table, grid)
        bias = relative_bias(table, grid).to(q.dtype)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias.unsqueeze(0))


def relative_index(grid: Grid, device: torch.device) -> Tensor:
    """Row of the table for every pair of tokens, int64 [N * N].

    Patches i and j (query, key) at ``(y, x)`` use row ``(y_i - y_j + rows - 1) * (2 columns - 1) +
    x_i - x_j + columns - 1``. The last three rows are class token to patch, patch to class token,
    and class token to itself.
    """
    rows, columns = grid
    y = torch.arange(rows, device=device).repeat_interleave(columns)
    x = torch.arange(columns, device=device).repeat(rows)
    down = y[:, None] - y[None] + rows - 1
    right = x[:, None] - x[None] + columns - 1
    offsets = table_rows(grid) - CLS_ROWS
    index = torch.empty(1 + rows * columns, 1 + rows * columns, dtype=torch.int64, device=device)
    index[1:, 1:] = down * (2 * columns - 1) + right
    index[0], index[:, 0], index[0, 0] = offsets, offsets + 1, offsets + 2
    return index.flatten()


def _index(grid: Grid, device: torch.device) -> Tensor:
    """:func:`relative_index`, made once for all blocks and never saved.

    A compiler folds the index into the look-up by itself, and warns of caches. An exporter takes
    the one that a run before left as a constant; in its own trace it would compute it in every
    block, and nothing of that may be kept.
    """
    if torch.compiler.is_compiling():
        known = _indices.get((grid, device)) if _is_exporting() else None
        return relative_index(grid, device) if known is None else known
    if (grid, device) not in _indices:
        if len(_indices) == _MOST_INDICES:
            _indices.clear()
        _indices[grid, device] = relative_index(grid, device)
    return _indices[grid, device]


def relative_bias(table: Tensor, grid: Grid) -> Tensor:
    """Table [rows, H] -> bias of every pair of tokens [H, N, N]."""
    N = 1 + grid[0] * grid[1]
    index = _index(grid, table.device)
    return table.t().contiguous().index_select(1, index).view(-1, N, N)


class _BiasedAttention(torch.autograd.Function):
    """Fused attention forward; backward by recomputation, in chunks of heads.

    Nothing of size N x N outlives either pass. Half-precision inputs are differentiated in float32.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, table: Tensor, grid: Grid) -> Tensor:
        with torch.autocast(q.device.type, enabled=False):
            bias = relative_bias(table, grid).to(q.dtype).unsqueeze(0)
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        ctx.save_for_backward(q, k, v, table, out)
        ctx.grid = grid
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, out_gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, table, out = ctx.saved_tensors
        index = _index(ctx.grid, table.device)
        B, H, N, _ = q.shape
        step = max(1, _CHUNK.get(q.device.type, _LARGE_CHUNK) // (B * N * N))
        gradients = [torch.empty_like(tensor) for tensor in (q, k, v)]
        table_gradient = torch.zeros_like(table.t(), memory_format=torch.contiguous_format)
        with torch.autocast(q.device.type, enabled=False):
            for start in range(0, H, step):
                heads = slice(start, min(start + step, H))
                bias = relative_bias(table[:, heads], ctx.grid).to(q.dtype)  # as forward had it
                *parts, logits = _attention_gradients(
                    q[:, heads], k[:, heads], v[:, heads],
                    out[:, heads], out_gradient[:, heads], bias,
                )
                for gradient, part in zip(gradients, parts, strict=True):
                    gradient[:, heads] = part
                # every pair of tokens adds to the row that its bias came from
                pairs = logits.sum(0).flatten(1).to(table.dtype)
                table_gradient[heads].scatter_add_(1, index.expand_as(pairs), pairs)
        return *gradients, table_gradient.t(), None


def _attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, given: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients for q, k, v [B, h, N, d] and the attention logits [B, h, N, N] of some heads.

    ``given`` is the gradient for the result ``out`` [B, h, N, d]; ``bias`` is [h, N, N].
    """
    full = torch.promote_types(q.dtype, torch.float32)
    q, k, v, out, given = (tensor.to(full) for tensor in (q, k, v, out, given))
    scale = q.shape[-1] ** -0.5
    weights = (q * scale) @ k.transpose(-2, -1)
    weights = weights.add_(bias).softmax(dim=-1)
    for_v = weights.transpose(-2, -1) @ given
    # softmax: dS = P * (dP - sum(P * dP)), in the memory of dP; the sum is that of dO * O
    shared = (given * out).sum(dim=-1, keepdim=True)
    logits = (given @ v.transpose(-2, -1)).sub_(shared).mul_(weights)
    return (logits @ k) * scale, logits.transpose(-2, -1) @ (q * scale), for_v, logits
