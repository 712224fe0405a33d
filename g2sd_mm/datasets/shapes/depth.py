"""How far away everything in a scene is: metres that agree with what hides what.

Nothing is drawn at random here, so that a scene has the same pixels with and without its depth. Two
cues of a photograph tell distance: what looks smaller is farther away, and what hides another thing
is nearer than it. The backdrop is a plane that comes nearer towards the foot of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .scene import Patch

MIN_DEPTH, MAX_DEPTH = 0.1, 12.0
"""Metres between which every depth of a scene lies."""

MILLIMETRES = 1000
"""What a depth map's file has for a metre."""

_BACKDROP = (10.0, 8.0)  # metres at the head and at the foot of the picture
_SIDE = 0.8  # metres: side of the square that every piece has the area of
_FARTHEST = 7.5  # metres: of a piece, in front of the backdrop anywhere
_NEARER = 0.9  # what hides another piece has at most this part of its depth


def scene_depth(patches: Sequence[Patch], size: int) -> np.ndarray:
    """The depth of every pixel.

    Args:
        patches: of all pieces, back to front, clutter among them.
        size: side of the picture in pixels.

    Returns:
        float64 (size, size), metres.
    """
    head, foot = _BACKDROP
    depth = np.repeat(np.linspace(head, foot, size)[:, None], size, axis=1)
    for patch in patches:
        covered = patch.alpha >= 128
        under = depth[patch.window][covered]
        apparent = math.sqrt(max(patch.full_area, 1)) / size
        metres = min(_SIDE / apparent, _FARTHEST)
        if under.size:
            metres = min(metres, _NEARER * float(under.min()))
        depth[patch.window][covered] = metres
    return depth


def as_millimetres(depth: np.ndarray) -> np.ndarray:
    """Metres as uint16, for a 16-bit PNG."""
    return np.rint(depth * MILLIMETRES).astype(np.uint16)
