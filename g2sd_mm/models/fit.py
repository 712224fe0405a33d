"""Fit a whole network's weights to another image size, by the rules of the published loaders."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from .decomposed_attention import resize_table
from .positions import Grid, resize_positions, square_grid
from .relative_table import resize_relative_table, table_grid

_POSITIONS = ('pos_embed', 'decoder_pos_embed', 'backbone.pos_embed')
_TABLE = 'relative_position_bias_table'
_DECOMPOSED = ('.rel_pos_h', '.rel_pos_w')


def fit_to_image(state: Mapping[str, Tensor], side: int) -> dict[str, Tensor]:
    """Resize what depends on the number of patches.

    Position embeddings bicubically; tables of relative positions by BEiT's rule. Of a ViTDet, whose
    position embedding keeps the pre-training grid, the tables of the global blocks (the longest
    ones) linearly.

    Args:
        state: a network under published names.
        side: pixels of the square image.

    Raises:
        ValueError: if ``side`` is not a multiple of the patch size.
    """
    patch = next(t.shape[-1] for n, t in state.items() if n.endswith('patch_embed.proj.weight'))
    if side % patch:
        raise ValueError(f'an image of {side} px does not divide into patches of {patch} px')
    grid = (side // patch, side // patch)
    longest = max((len(t) for n, t in state.items() if n.endswith(_DECOMPOSED)), default=0)
    return {name: _fitted(name, tensor, grid, longest) for name, tensor in state.items()}


def _fitted(name: str, tensor: Tensor, grid: Grid, longest: int) -> Tensor:
    if name in _POSITIONS:
        return resize_positions(tensor, square_grid(tensor.shape[1] - 1), grid)
    if name.endswith(_TABLE):
        return resize_relative_table(tensor, table_grid(len(tensor)), grid)
    if name.endswith(_DECOMPOSED) and len(tensor) == longest:
        return resize_table(tensor, grid[0])
    return tensor
