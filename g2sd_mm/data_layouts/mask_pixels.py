"""What a file of a mask holds: numbers, a palette, colours."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..image_files import opened_quietly
from .names import Colour

_LARGEST = 255


class UnreadableMask(DataError):
    """A file that holds no numbers or colours of classes, whatever the others hold."""


def pixels_of(file: Path) -> np.ndarray:
    """uint8 [height, width], or [height, width, 3] of a colour picture; palettes stay numbers.

    Raises:
        UnreadableMask: if it cannot be read, or compression has changed its pixels.
    """
    try:
        with opened_quietly(file) as image:
            if image.format == 'JPEG':
                raise UnreadableMask(f'{file} is a JPEG, which changes pixels: write masks as PNG')
            if image.mode == '1':
                return np.asarray(image.convert('L'))
            colours = image.mode in ('LA', 'RGBA', 'CMYK', 'PA')
            pixels = np.asarray(image.convert('RGB') if colours else image)
    except UnreadableMask:
        raise
    except Exception as error:  # damaged data can make a decoder raise anything
        raise UnreadableMask(f'{file}: cannot be read as a mask ({error})') from error
    if pixels.dtype != np.uint8:
        if pixels.dtype.kind not in 'iu' or pixels.min() < 0 or pixels.max() > _LARGEST:
            raise UnreadableMask(f'{file} has numbers beyond 0 to 255')
        pixels = pixels.astype(np.uint8)
    return pixels


def palette_of(file: Path) -> bytes:
    """Red, green and blue of each number; nothing of a file without a palette."""
    try:
        with opened_quietly(file) as image:
            if image.mode != 'P' or image.palette is None:
                return b''
            kind, colours = image.palette.getdata()
            return bytes(colours if kind == 'RGB' else image.getpalette() or [])  # decodes it
    except Exception as error:  # as in pixels_of
        raise UnreadableMask(f'{file}: cannot be read as a mask ({error})') from error


def palette_rows(palette: bytes) -> dict[int, Colour]:
    """The colour of each number; none of 255 that has another's, as where zeros fill the rest."""
    rows = {i: (r, g, b) for i, (r, g, b) in enumerate(zip(*[iter(palette)] * 3, strict=False))}
    last = rows.pop(_LARGEST, None)
    return rows if last is None or last in rows.values() else rows | {_LARGEST: last}


def palette_at(file: Path, values: Iterable[int]) -> dict[int, Colour]:
    """The colours of some numbers; a palette may be cut to those that a file uses."""
    rows = palette_rows(palette_of(file))
    return {value: rows[value] for value in values if value in rows}


def colours_of(file: Path) -> tuple[list[tuple[int | None, Colour | None]], np.ndarray]:
    """What occurs in a file, and the place of each pixel [height, width] in this list.

    Colours, with their numbers in the file's palette; 255 may have none, see :func:`palette_rows`.
    """
    pixels = pixels_of(file)
    palette = palette_of(file) if pixels.ndim == 2 else b''
    values, places = np.unique(pixels if palette else _packed(pixels), return_inverse=True)
    shown: list[tuple[int | None, Colour | None]]
    if palette:
        rows: dict[int, Colour | None] = {_LARGEST: None, **palette_rows(palette)}
        shown = [(number, rows.get(number, (0, 0, 0))) for number in values.tolist()]
    else:
        shown = [(None, (v >> 16, (v >> 8) & 255, v & 255)) for v in values.tolist()]
    return shown, places.reshape(pixels.shape[:2])


def is_grey(pixels: np.ndarray) -> bool:
    """Whether the channels are equal, or there is one."""
    return pixels.ndim == 2 or bool((pixels == pixels[..., :1]).all())


def _packed(pixels: np.ndarray) -> np.ndarray:
    """One number for each pixel's colour, which sorts by red, green and blue."""
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    wide = pixels.astype(np.int32)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]


def hex_of(colour: Colour) -> str:
    """``#rrggbb``."""
    return '#' + ''.join(f'{channel:02x}' for channel in colour)
