"""Image sizes, square or not, and the patch grids of tables that files were saved with."""

from __future__ import annotations

from collections.abc import Sequence

from .positions import Grid, square_grid

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
        return square_grid(patches)
    except ValueError:
        if own[0] * own[1] == patches:
            return own
        raise ValueError(
            f'{patches} patch positions form neither a square nor the {own[0]}x{own[1]} patches '
            'of img_size'
        ) from None
