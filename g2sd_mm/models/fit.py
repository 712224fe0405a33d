"""Fit a whole network's weights to another image size, by the rules of the published loaders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from .decomposed_attention import resize_table
from .positions import Grid, patch_grid, resize_positions, stored_grid
from .table_attention import resize_relative_table, stored_table_grid

_POSITIONS = ('pos_embed', 'decoder_pos_embed', 'backbone.pos_embed')
_TABLE = 'relative_position_bias_table'
_DECOMPOSED = ('.rel_pos_h', '.rel_pos_w')


def fit_to_image(
    state: Mapping[str, Tensor], size: int | Sequence[int], known: Grid | None = None
) -> dict[str, Tensor]:
    """Resize what depends on the number of patches.

    Position embeddings bicubically; tables of relative positions by BEiT's rule. Of a ViTDet, whose
    position embedding keeps the pre-training grid, the tables of the global blocks (the longest
    ones) linearly.

    Args:
        state: a network under published names.
        size: side of the square image in pixels, or its height and width.
        known: patch grid of the file's positions, where it says it; else they form a square.

    Raises:
        ValueError: if a side is not a multiple of the patch size, or the positions form no square.
    """
    patch = next(t.shape[-1] for n, t in state.items() if n.endswith('patch_embed.proj.weight'))
    grid = patch_grid(size, patch)
    # of the global blocks; a table a direction
    longest = {
        ending: max((len(t) for n, t in state.items() if n.endswith(ending)), default=0)
        for ending in _DECOMPOSED
    }
    return {n: _fitted(n, tensor, grid, longest, known) for n, tensor in state.items()}


def _fitted(
    name: str, tensor: Tensor, grid: Grid, longest: Mapping[str, int], known: Grid | None
) -> Tensor:
    if name in _POSITIONS:
        old = stored_grid(tensor.shape[1] - 1, grid, known)
        return resize_positions(tensor, old, grid)
    if name.endswith(_TABLE):
        old = stored_table_grid(len(tensor), grid, known)
        return resize_relative_table(tensor, old, grid)
    for direction, ending in enumerate(_DECOMPOSED):
        if name.endswith(ending) and len(tensor) == longest[ending]:
            return resize_table(tensor, grid[direction])
    return tensor
