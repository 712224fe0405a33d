"""Absolute positions, patch grids and image sizes, and what depends on them in a file."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from timm.models import adapt_input_conv
from torch import Tensor

Grid = tuple[int, int]


def sincos_position_embedding(dim: int, grid: Grid) -> Tensor:
    """Fixed 2-D sin-cos position embedding in the layout of the published MAE checkpoints.

    The first half of the channels encodes the column, the second half the row; within each half
    all sines come before all cosines, at frequencies ``10000 ** (-k / (dim / 4))``. (mmpretrain's
    builder has the halves the other way round: its table is the transposed grid.)

    Args:
        dim: channels, a multiple of 4.
        grid: rows and columns of patches.

    Returns:
        float32 ``[1, 1 + rows * columns, dim]``: zeros for the class token, then patches in raster
        order.

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
    return F.pad(torch.cat(halves, dim=1), (0, 0, 1, 0)).float().unsqueeze(0)


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


#: Side in pixels of square images, or height and width.
ImageSize = int | tuple[int, int]


def height_and_width(img_size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width) of an ``img_size`` as a config has it.

    Raises:
        ValueError: if it is neither one positive number nor two.
    """
    sides = tuple(img_size) if isinstance(img_size, Sequence) else (img_size, img_size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(
            f'img_size={img_size!r} is neither the side of square images in pixels nor their '
            'height and width'
        )
    return sides[0], sides[1]


def plain_size(img_size: int | Sequence[int]) -> ImageSize:
    """The side where images are square, else (height, width)."""
    height, width = height_and_width(img_size)
    return height if height == width else (height, width)


def patch_grid(img_size: int | Sequence[int], patch_size: int) -> Grid:
    """Patch rows and columns of images of that size.

    Raises:
        ValueError: if a side is not a multiple of the patch size.
    """
    height, width = height_and_width(img_size)
    if height % patch_size or width % patch_size:
        raise ValueError(
            f'img_size {plain_size(img_size)} is not a multiple of patch_size {patch_size}'
        )
    return height // patch_size, width // patch_size


def stored_grid(patches: int, own: Grid, known: Grid | None = None) -> Grid:
    """The grid that a table of so many patches was laid out for.

    What its file says, else a square, as that of every published file, else the network's own.

    Args:
        patches: positions in the table, without the class token's.
        own: patch grid of the network that the table is for.
        known: what the file says.

    Raises:
        ValueError: if it is none of these.
    """
    if known is not None and known[0] * known[1] == patches:
        return known
    try:
        square = square_grid(patches)
        if own[0] * own[1] == patches and own != square:
            print_log(
                f'a table of {patches} patch positions whose file does not say its grid is read '
                f'as {square[0]}x{square[1]} and resized to {own[0]}x{own[1]}: if it was of that '
                'grid already, take the file that it was converted from',
                logger='current',
                level=logging.WARNING,
            )
        return square
    except ValueError:
        if own[0] * own[1] == patches:
            return own
        raise ValueError(
            f'{patches} patch positions form neither a square nor the {own[0]}x{own[1]} patches '
            'of img_size'
        ) from None


_PROJECTION = 'patch_embed.proj.weight'
#: What makes pixels of features: of other channels it has no counterpart.
_PIXELS = ('decoder_pred.',)


def adapt_channels(state: Mapping[str, Tensor], channels: int) -> dict[str, Tensor]:
    """An RGB network's state for images of another number of channels, by timm's rule.

    One channel: the kernels of the three are summed, so that a grey image gives what it gave as
    RGB. Else they are repeated in turn and scaled by ``3 / channels``. The pixel predictor of a
    masked autoencoder is left out then.

    Args:
        state: under published names; one of no RGB network stays as it is.
        channels: of the images.
    """
    kernel = state.get(_PROJECTION)
    if kernel is None or kernel.ndim != 4 or kernel.shape[1] != 3 or channels == 3:
        return dict(state)
    adapted = {name: t for name, t in state.items() if not name.startswith(_PIXELS)}
    adapted[_PROJECTION] = adapt_input_conv(channels, kernel)
    return adapted
