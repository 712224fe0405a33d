"""How far and how widely attention looks, by layer and head.

The mean attention distance is that of Dosovitskiy et al. ("An Image is Worth 16x16 Words", ICLR
2021, appendix D.7) and Raghu et al. ("Do Vision Transformers See Like Convolutional Neural
Networks?", NeurIPS 2021). The fused kernels never give their weights away: they are computed once
more from what goes into an attention.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

from ...models.decomposed_attention import split_windows
from ...models.positions import Grid
from ...models.vit import Attention
from .network import (
    Advance,
    Networks,
    block_taps,
    known,
    normalised,
    nothing,
    patch_tokens,
    transformer,
)


def attention_weights(attention: Attention, x: Tensor, grid: Grid) -> Tensor:
    """Weights [B, H, N, N] (query, key) that ``attention`` gives to tokens ``x`` [B, N, D].

    They are what comes out if the values are the unit vectors, whatever bias the attention adds;
    these are given a few at a time, because some kernels want values as wide as keys.
    """
    B, N, D = x.shape
    H = attention.num_heads
    d = D // H
    qkv = attention.qkv(x).reshape(B, N, 3, H, d)
    q, k, _ = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    units = torch.eye(N, N + -N % d, dtype=x.dtype, device=x.device)  # columns: a multiple of d
    parts = [
        attention.attend(q, k, values.expand(B, H, N, d), grid) for values in units.split(d, dim=1)
    ]
    return torch.cat(parts, dim=-1)[..., :N]


def patch_distances(grid: Grid, patch: int) -> Tensor:
    """Distances [L, L] in pixels between the centres of all patches of a grid."""
    rows, columns = grid
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing='ij')
    centres = torch.stack([y.flatten(), x.flatten()], dim=1).double() * patch
    return torch.cdist(centres, centres)


def mean_distance(weights: Tensor, distances: Tensor) -> Tensor:
    """Distance in pixels at which queries look on average: [B, H, L].

    Args:
        weights: of patches to patches [B, H, L, L]; what went to other tokens may be missing, the
            rest counts in proportion. NaN for a query that gives patches no weight at all.
        distances: [L, L].
    """
    return (weights * distances).sum(-1) / weights.sum(-1)


def entropy(weights: Tensor) -> Tensor:
    """Entropy in nats of weights [..., keys] that sum to one: [...], from 0 to ``ln(keys)``."""
    return torch.special.entr(weights).sum(-1)


def look(attention: Attention, x: Tensor, grid: Grid, patch: int) -> dict[str, Tensor]:
    """Distance [H] in pixels, entropy [H] in nats and the entropy's upper bound of one attention.

    Queries are the patches. Distances are to patches alone, of the queries that look at any (NaN
    for a head without one); entropies are over all keys. In windows both are within a window, and
    padding asks nothing.

    Args:
        attention: of a block.
        x: its input [B, N, D], with or without a class token in front and others behind.
        grid: patch rows and columns of the image.
        patch: side of a patch in pixels.
    """
    asks = torch.ones(1, x.shape[1], 1, device=x.device)
    if window := getattr(attention, 'window', 0):
        x, asks = split_windows(x, grid, window), split_windows(asks, grid, window)
        grid = (window, window)
    N = x.shape[1]
    patches = patch_tokens(x, grid[0] * grid[1])
    weights = attention_weights(attention, x, grid)[:, :, patches].double()  # [B, H, L, N]
    asks = asks[:, patches, 0].double().repeat(len(x) // len(asks), 1).unsqueeze(1)  # [B, 1, L]
    distances = patch_distances(grid, patch).to(x.device)
    figures = {
        'distance': mean_distance(weights[..., patches], distances),
        'entropy': entropy(weights),
    }
    averaged = {
        name: torch.nansum(values * asks, (0, 2)) / (asks * ~values.isnan()).sum((0, 2))
        for name, values in figures.items()
    }
    return {**averaged, 'bound': torch.full_like(averaged['entropy'], math.log(N))}


@torch.no_grad()
def attention_reach(
    networks: Networks, images: Tensor, advance: Advance = nothing
) -> dict[str, Any]:
    """:func:`look` for every block and head, averaged over the images.

    Returns:
        network -> ``distance`` and ``entropy``, [blocks][heads], ``bound`` [blocks], and
        ``uniform``: the distance if all patches were looked at alike. The distance of a head that
        looks at no patch is None.
    """
    found = {}
    for name, student in networks.items():
        backbone: Any = transformer(student, name)
        patch = backbone.patch_embed.patch_size
        taps = block_taps(backbone, '.attn:input')
        sums: dict[str, Any] = defaultdict(int)
        counts: dict[str, Any] = defaultdict(int)
        for part in images.split(10):  # the weights of all pairs of tokens are large
            x = normalised(student, part)
            grid = backbone.patch_embed.grid(x)
            with taps.record() as seen:
                backbone(x)
            looks = [
                look(block.attn, tokens, grid, patch)
                for block, tokens in zip(backbone.blocks, seen.values(), strict=False)
            ]
            for key in looks[0]:
                stacked = torch.stack([figures[key] for figures in looks])  # [blocks, H]
                sums[key] = sums[key] + stacked.nan_to_num() * len(x)
                counts[key] = counts[key] + ~stacked.isnan() * len(x)
            advance(len(x))
        taps.remove()
        means = {key: sums[key] / counts[key] for key in sums}
        found[name] = {
            'distance': [known(heads) for heads in means['distance'].tolist()],
            'entropy': means['entropy'].tolist(),
            'bound': means['bound'][:, 0].tolist(),
            'uniform': float(patch_distances(grid, patch).mean()),
            'patch': patch,
        }
    return {'images': len(images), 'networks': found}
