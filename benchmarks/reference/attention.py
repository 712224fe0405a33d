"""Attention written out: the whole map of logits, its softmax, and what training keeps of them.

Shapes: B images, H heads, N tokens, d channels of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from g2sd_mm.models.decomposed_attention import DecomposedAttention, relative_table
from g2sd_mm.models.positions import Grid
from g2sd_mm.models.table_attention import TableAttention, relative_index
from g2sd_mm.models.vit import Attention


class PlainAttention(Attention):
    """A classifier's: softmax of the scaled products."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, grid: Grid | None) -> Tensor:
        """[B, H, N, d] each -> [B, H, N, d]."""
        logits = (q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5
        return logits.softmax(dim=-1) @ v


class ClampedAttention(Attention):
    """A masked autoencoder's: softmax in float32 of clamped logits; q, k and v are kept.

    ``kept`` is a list that all layers share and that the step empties.
    """

    kept: list

    def attend(self, q: Tensor, k: Tensor, v: Tensor, grid: Grid | None) -> Tensor:
        """[B, H, N, d] each -> [B, H, N, d]."""
        self.kept.append((q, k, v))
        logits = ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)).float()
        limits = torch.finfo(logits.dtype)
        weights = logits.clamp(min=limits.min, max=limits.max).softmax(dim=-1)
        return weights.to(v.dtype) @ v


class PlainDecomposedAttention(DecomposedAttention):
    """A detector's: row and column biases of the un-scaled query, added to the map of logits."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, grid: Grid | None) -> Tensor:
        """[B, H, N, d] each -> [B, H, N, d]."""
        rows, columns = grid
        queries = q.unflatten(2, grid)
        by_row = torch.einsum('bhyxd,ykd->bhyxk', queries, relative_table(self.rel_pos_h, rows))
        by_column = torch.einsum(
            'bhyxd,xkd->bhyxk', queries, relative_table(self.rel_pos_w, columns)
        )
        logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        by_place = logits.unflatten(3, grid).unflatten(2, grid)  # [B, H, rows, columns, rows, ...]
        by_place = by_place + by_row.unsqueeze(-1) + by_column.unsqueeze(-2)
        return by_place.flatten(4, 5).flatten(2, 3).softmax(dim=-1) @ v


class PlainTableAttention(TableAttention):
    """A segmentor's: one row of the table for every pair of tokens, added to the map of logits."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, grid: Grid | None) -> Tensor:
        """[B, H, N, d] each -> [B, H, N, d]."""
        N = q.shape[2]
        if not hasattr(self, 'index'):
            self.index = relative_index(grid or self.grid_size, q.device)
        bias = self.relative_position_bias_table[self.index].view(N, N, -1).permute(2, 0, 1)
        logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1) + bias.unsqueeze(0)
        return logits.softmax(dim=-1) @ v


_PLAIN = {
    Attention: PlainAttention,
    DecomposedAttention: PlainDecomposedAttention,
    TableAttention: PlainTableAttention,
}


def plain_attention(network: nn.Module) -> None:
    """Write out the attention of every layer, in place; weights stay where they are."""
    for module in network.modules():
        module.__class__ = _PLAIN.get(type(module), type(module))


def clamped_attention(network: nn.Module, kept: list) -> None:
    """The same for a masked autoencoder, whose layers put q, k and v into ``kept``."""
    for module in network.modules():
        if type(module) is Attention:
            module.__class__, module.kept = ClampedAttention, kept
