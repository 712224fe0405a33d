"""From outlines to pixels: anti-aliased coverage of a shape, and painting with it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from .outlines import Outline

_SUPER = 4  # sub-pixels per side: 16 coverage levels look smooth and cost little
_SHIFT = 4  # fractional bits of a vertex, on top of the sub-pixels


@dataclass(frozen=True)
class Patch:
    """Coverage of one shape, cut to the picture.

    Attributes:
        top: First row of the patch in the picture.
        left: First column of the patch in the picture.
        alpha: uint8 (h, w), 0 .. 255 coverage; h or w may be 0 when the shape is out of sight.
        full_area: Pixels at least half covered, including those outside the picture.
    """

    top: int
    left: int
    alpha: np.ndarray
    full_area: int

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the patch, to index a picture with."""
        height, width = self.alpha.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def rasterise(outline: Outline, size: int) -> Patch:
    """Fill an outline by the even-odd rule with 4 x 4 supersampling.

    Args:
        outline: Contours in pixels; pixel i covers the interval [i, i + 1).
        size: Side of the square picture in pixels.

    Returns:
        The coverage inside the picture.
    """
    points = np.concatenate(outline)
    left, top = math.floor(points.real.min()), math.floor(points.imag.min())
    width = math.ceil(points.real.max()) + 1 - left
    height = math.ceil(points.imag.max()) + 1 - top
    canvas = np.zeros((height * _SUPER, width * _SUPER), np.uint8)
    # cv2 puts integer coordinates at sub-pixel centres, hence the half.
    offset = complex(left + 0.5 / _SUPER, top + 0.5 / _SUPER)
    unit = _SUPER << _SHIFT
    contours = [np.rint((contour - offset).view(np.float64) * unit).astype(np.int32).reshape(-1, 2)
                for contour in outline]
    cv2.fillPoly(canvas, contours, 255, cv2.LINE_8, _SHIFT)
    alpha = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    full_area = int(np.count_nonzero(alpha >= 128))
    row, column = max(0, -top), max(0, -left)
    alpha = alpha[row:max(row, size - top), column:max(column, size - left)]
    return Patch(min(max(top, 0), size), min(max(left, 0), size), alpha, full_area)


def paint(canvas: np.ndarray, patch: Patch, texture: np.ndarray) -> None:
    """Blend a texture into the picture in place, in integers so that every machine agrees.

    Args:
        canvas: uint8 (size, size, 3), changed in place.
        patch: Where and how much.
        texture: uint8 (h, w, 3), of the patch's height and width.
    """
    if not patch.alpha.size:
        return
    under = canvas[patch.window]
    alpha = cv2.merge([patch.alpha] * 3).astype(np.uint16)
    mixed = texture * alpha + under * (255 - alpha) + np.uint16(127)
    under[...] = mixed // 255
