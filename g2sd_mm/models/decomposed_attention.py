"""Attention with a relative position bias that is the sum of a row part and a column part.

ViTDet (Li et al. 2022) adds ``q . R_h[y_q - y_k] + q . R_w[x_q - x_k]`` to every attention logit.
As a mask, that sum is a heads x N x N map that needs a gradient, and torch leaves its fused kernels
for such a mask. It needs no mask: give the query ``q . R_h`` for all rows and ``q . R_w`` for all
columns as further channels, and the key a one there for its own row and column. The inner product
then picks out the bias, and N x N never exists.

On CPUs, whose time goes by channels (192 instead of 64 a head at 64 x 64 patches, in keys and in
values), large maps are attended band by band instead: the bias of a band of queries is written out
as a mask, and thrown away with the band.

Shapes: B images (or windows), H heads, N = R * C tokens of R rows and C columns, d channels a head.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .positions import Grid
from .vit import Attention

_BAND = 512  # queries; the logits of a head are then 8 MB in float32 at 4,096 keys

# New in torch 2.7; before it, an exporter cannot be told from a compiler.
_is_exporting = getattr(torch.compiler, 'is_exporting', torch.compiler.is_compiling)


def pays_off(q: Tensor) -> bool:
    """Whether queries [B, H, N, d] are better taken band by band.

    Small windows fit into the caches anyway, and exporters want one plain expression.
    """
    exporting = torch.jit.is_tracing() or _is_exporting()
    return q.device.type == 'cpu' and q.shape[2] > _BAND and not exporting


@torch.compiler.disable
def chunked_attention(q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    """``softmax(q k' / sqrt(d) + row bias + column bias) v``.

    Args:
        q, k, v: [B, H, N, d], N in raster order.
        by_row: [B, H, N, R], bias of a query for the keys of each row.
        by_column: [B, H, N, C], of each column.

    Returns:
        [B, H, N, d].
    """
    return _ChunkedAttention.apply(q, k, v, by_row, by_column)


class _ChunkedAttention(torch.autograd.Function):
    """Nothing of size N x N is ever there; the backward pass computes the logits again.

    Half-precision inputs are differentiated in float32.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor
    ) -> Tensor:
        out = torch.empty_like(q)
        with torch.autocast('cpu', enabled=False):
            for head in range(q.shape[1]):
                one = slice(head, head + 1)
                for band in _bands(q.shape[2]):
                    bias = _written_out(by_row[:, one, band], by_column[:, one, band])
                    out[:, one, band] = F.scaled_dot_product_attention(
                        q[:, one, band], k[:, one], v[:, one], attn_mask=bias.to(q.dtype)
                    )
        ctx.save_for_backward(q, k, v, by_row, by_column, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, out_gradient: Tensor) -> tuple[Tensor, ...]:
        *inputs, out = ctx.saved_tensors
        gradients = [torch.empty_like(tensor) for tensor in inputs]
        with torch.autocast('cpu', enabled=False):
            for image in range(len(out)):
                for head in range(out.shape[1]):
                    place = image, head
                    parts = _head_gradients(
                        *(tensor[place] for tensor in (*inputs, out, out_gradient))
                    )
                    for gradient, part in zip(gradients, parts, strict=True):
                        gradient[place] = part
        return tuple(gradients)


def _head_gradients(
    q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor, out: Tensor, given: Tensor
) -> tuple[Tensor, ...]:
    """Gradients of one head for the first five, ``given`` that for its result ``out`` [N, d]."""
    full = torch.promote_types(q.dtype, torch.float32)
    q, k, v, out, given = (tensor.to(full) for tensor in (q, k, v, out, given))
    scale = q.shape[-1] ** -0.5
    q = q * scale
    # what the softmax takes off every row, sum(P * dP), from the result
    shared = (given * out).sum(dim=1, keepdim=True)
    for_q, for_k, for_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
    for_row, for_column = torch.empty_like(by_row, dtype=full), torch.empty_like(
        by_column, dtype=full)
    for band in _bands(len(q)):
        logits = torch.addmm(_written_out(by_row[band], by_column[band]).to(full), q[band], k.t())
        weights = logits.softmax(dim=1)
        for_v.addmm_(weights.t(), given[band])
        # softmax: dS = P * (dP - sum(P * dP))
        change = (given[band] @ v.t()).sub_(shared[band]).mul_(weights)
        torch.mm(change, k, out=for_q[band])
        for_k.addmm_(change.t(), q[band])
        by_place = change.view(-1, by_row.shape[-1], by_column.shape[-1])
        torch.sum(by_place, dim=2, out=for_row[band])
        torch.sum(by_place, dim=1, out=for_column[band])
    return for_q.mul_(scale), for_k, for_v, for_row, for_column


def _bands(queries: int) -> list[slice]:
    return [slice(start, start + _BAND) for start in range(0, queries, _BAND)]


def _written_out(by_row: Tensor, by_column: Tensor) -> Tensor:
    """[..., n, R] and [..., n, C] -> bias of every key [..., n, R * C]."""
    return (by_row.unsqueeze(-1) + by_column.unsqueeze(-2)).flatten(-2)


_ALIGNMENT = 8  # channels; the fused GPU kernels take multiples of 16 bytes in half precision


class DecomposedAttention(Attention):
    """Global or windowed attention with decomposed relative positions.

    Args:
        dim: channels.
        num_heads: heads.
        grid: patch rows and columns that global attention has its tables for; other grids resize
            them.
        window: side of the windows in patches; 0 attends globally. The map is padded with zeros at
            the bottom and the right to whole windows, and the padded tokens take part, as in the
            published models.

    The tables ``rel_pos_h`` and ``rel_pos_w`` are shared by the heads and start at zero.
    """

    def __init__(self, dim: int, num_heads: int, grid: Grid, window: int = 0) -> None:
        super().__init__(dim, num_heads)
        self.window = window
        rows, columns = (window, window) if window else grid
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * rows - 1, dim // num_heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * columns - 1, dim // num_heads))

    def forward(self, x: Tensor, grid: Grid | None = None) -> Tensor:
        """[B, N, D] of a map of ``grid`` patches -> [B, N, D]."""
        if not self.window:
            return super().forward(x, grid)
        assert grid is not None  # backbones with windows hand it down
        windows = split_windows(x, grid, self.window)
        windows = super().forward(windows, (self.window, self.window))
        return join_windows(windows, grid, self.window)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, grid: Grid | None) -> Tensor:
        """[B, H, N, d] each -> [B, H, N, d]."""
        assert grid is not None
        rows = relative_table(self.rel_pos_h, grid[0])
        columns = relative_table(self.rel_pos_w, grid[1])
        return decomposed_attention(q, k, v, rows, columns)


def decomposed_attention(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """``softmax(q k' / sqrt(d) + row bias + column bias) v`` on a fused kernel.

    Args:
        q, k, v: [B, H, N, d], N in raster order.
        rows: [R, R, d], entry (i, j) for a query in row i and a key in row j.
        columns: [C, C, d], the same for columns.

    Returns:
        [B, H, N, d].
    """
    B, H, _, d = q.shape
    R, C = len(rows), len(columns)
    # the bias is taken from the un-scaled query, as published
    queries = q.unflatten(2, (R, C))
    by_row = torch.einsum('bhyxd,ykd->bhyxk', queries, rows)
    by_column = torch.einsum('bhyxd,xkd->bhyxk', queries, columns)
    by_row, by_column = by_row.flatten(2, 3), by_column.flatten(2, 3)
    if pays_off(q):
        return chunked_attention(q, k, v, by_row, by_column)
    own_row = torch.eye(R, dtype=k.dtype, device=k.device).repeat_interleave(C, dim=0)
    own_column = torch.eye(C, dtype=k.dtype, device=k.device).repeat(R, 1)
    own = torch.cat([own_row, own_column], dim=1).expand(B, H, -1, -1)  # [B, H, N, R + C]

    q = torch.cat([q * d**-0.5, by_row, by_column], dim=-1)
    k = torch.cat([k, own], dim=-1)
    idle = -q.shape[-1] % _ALIGNMENT
    if idle:
        q, k = F.pad(q, (0, idle)), F.pad(k, (0, idle))
    # torch's fused kernel for CPUs wants values as wide as keys; those for GPUs do not
    if v.device.type == 'cpu':
        v = F.pad(v, (0, k.shape[-1] - d))
    return F.scaled_dot_product_attention(q, k, v, scale=1.0)[..., :d]


def relative_table(table: Tensor, size: int) -> Tensor:
    """Rows of a table of relative positions [2 S - 1, d] for all pairs of ``size`` places.

    Returns:
        [size, size, d]: entry (i, j) belongs to the distance ``i - j``. A table for another size is
        resized linearly first.
    """
    place = torch.arange(size, device=table.device)
    return resize_table(table, size)[place[:, None] - place[None, :] + size - 1]


def resize_table(table: Tensor, size: int) -> Tensor:
    """[2 S - 1, d] -> [2 size - 1, d], linear, ``align_corners=False``; itself if S = size."""
    length = 2 * size - 1
    if len(table) == length:
        return table
    dtype = torch.promote_types(table.dtype, torch.float32)  # no half-precision kernel everywhere
    resized = F.interpolate(table.T.unsqueeze(0).to(dtype), size=length, mode='linear')
    return resized.squeeze(0).T.to(table.dtype)


def split_windows(x: Tensor, grid: Grid, window: int) -> Tensor:
    """[B, N, D] -> [B * windows, window ** 2, D], the map zero-padded to whole windows."""
    rows, columns = grid
    x = x.unflatten(1, grid)
    x = F.pad(x, (0, 0, 0, -columns % window, 0, -rows % window))
    B, padded_rows, padded_columns, D = x.shape
    x = x.reshape(B, padded_rows // window, window, padded_columns // window, window, D)
    return x.transpose(2, 3).reshape(-1, window * window, D)


def join_windows(windows: Tensor, grid: Grid, window: int) -> Tensor:
    """[B * windows, window ** 2, D] -> [B, N, D]; undoes :func:`split_windows`, padding cut off."""
    rows, columns = grid
    down, across = -(-rows // window), -(-columns // window)
    x = windows.reshape(-1, down, across, window, window, windows.shape[-1]).transpose(2, 3)
    x = x.reshape(-1, down * window, across * window, windows.shape[-1])
    return x[:, :rows, :columns].flatten(1, 2)
