"""Attention with a row and a column bias on CPUs: a band of queries at a time.

Further channels, which carry the bias on GPUs (:mod:`.decomposed_attention`), cost as much as
channels of content: 192 instead of 64 a head at 64 x 64 patches, in keys and in values. Here the
bias of a band of queries is written out as a mask, and thrown away with the band.
Shapes: B images, H heads, N = R * C tokens, d channels of a head.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

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
