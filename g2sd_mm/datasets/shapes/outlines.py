"""The classes of shapes, their outlines, and the random pose that makes no two of them alike.

An outline is a list of closed contours. A contour is a complex128 array (N,), x + iy with y down:
turning is then one multiplication and a resampling one call, which matters at seven shapes per
image. Contours are filled by the even-odd rule, so the second contour of a ring is its hole.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable

import numpy as np

# One name has three numbers, and this is the only place that says so:
#
# =====================  =======================================================
# classification label   0 .. 9, the position in :data:`CLASSES`
# COCO ``category_id``   1 .. 10 (0 is never used: COCO tools treat it as "none")
# semantic mask value    1 .. 10, 0 is background, 255 is "do not score"
# =====================  =======================================================

CLASSES: tuple[str, ...] = (
    'arrow', 'crescent', 'cross', 'disc', 'heart', 'pentagon', 'ring', 'square', 'star', 'triangle',
)  # alphabetical, because ImageFolder readers number class folders in that order
"""Class names in label order."""

SEG_CLASSES: tuple[str, ...] = ('background', *CLASSES)
"""Names of the semantic mask values 0 .. 10."""

VOID = 255
"""Semantic mask value of pixels that belong to an instance too hidden to be annotated."""

PALETTE: tuple[tuple[int, int, int], ...] = (
    (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48),
    (145, 30, 180), (70, 240, 240), (240, 50, 230), (210, 245, 60), (250, 190, 190),
)
"""One RGB colour per class, for drawings."""

SEG_PALETTE: tuple[tuple[int, int, int], ...] = ((0, 0, 0), *PALETTE)
"""One RGB colour per semantic mask value 0 .. 10."""


Outline = list[np.ndarray]

_POINTS = 80


def _regular(corners: int, radius: float = 1.0, start: float = 0.0) -> np.ndarray:
    """Corners of a regular polygon; ``start`` 0 puts the first one on top."""
    return -1j * radius * np.exp((np.arange(corners) + start) * (2j * math.pi / corners))


def _star(depth: float) -> np.ndarray:
    points = _regular(10)
    points[1::2] *= depth
    return points


def _cross(width: float) -> np.ndarray:
    arm = np.array([1 - width * 1j, 1 + width * 1j, width + width * 1j])
    return np.concatenate([arm, arm * 1j, -arm, arm * -1j])


def _arrow(shaft: float, neck: float) -> np.ndarray:
    upper = np.array([1, neck + 0.8j, neck + shaft * 1j, -1 + shaft * 1j])
    return np.concatenate([upper, upper[:0:-1].conj()])


def _crescent(bite: float, shift: float) -> np.ndarray:
    """A unit disc less a disc of radius ``bite`` whose centre is ``shift`` to the right."""
    x = (1 - bite**2 + shift**2) / (2 * shift)
    outer = math.acos(x)
    inner = math.acos((x - shift) / bite)
    there = np.linspace(outer, 2 * math.pi - outer, 60)
    back = np.linspace(2 * math.pi - inner, inner, 48)[1:-1]
    return np.concatenate([np.exp(1j * there), shift + bite * np.exp(1j * back)])


def _heart() -> np.ndarray:
    t = np.arange(_POINTS) * (2 * math.pi / _POINTS)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.sin(t)**3 - 1j * y / 16


#: Class -> its contours by two numbers of 0 .. 1, which vary its proportions.
_OUTLINES: dict[str, Callable[[float, float], Outline]] = {
    'arrow': lambda a, b: [_arrow(0.22 + 0.16 * a, -0.1 + 0.25 * b)],
    'crescent': lambda a, b: [_crescent(0.8 + 0.12 * a, 0.4 + 0.15 * b)],
    'cross': lambda a, b: [_cross(0.26 + 0.14 * a)],
    'disc': lambda a, b: [_regular(_POINTS)],
    'heart': lambda a, b: [_heart()],
    'pentagon': lambda a, b: [_regular(5)],
    'ring': lambda a, b: [_regular(_POINTS), _regular(_POINTS, 0.45 + 0.2 * a)],
    'square': lambda a, b: [_regular(4, start=0.5)],
    'star': lambda a, b: [_star(0.38 + 0.14 * a)],
    'triangle': lambda a, b: [_regular(3)],
}


def class_outline(rng: np.random.Generator, label: int) -> Outline:
    """One member of a class, upright, around the origin, about one unit in radius."""
    a, b = rng.random(2).tolist()  # always two draws: the stream does not depend on the class
    return _OUTLINES[CLASSES[label]](a, b)


def blob_outline(rng: np.random.Generator) -> Outline:
    """An irregular, usually concave splat that belongs to no class: clutter."""
    corners = int(rng.integers(6, 11))
    angle = (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) * (2 * math.pi / corners)
    return [rng.uniform(0.3, 1.0, corners) * np.exp(1j * angle)]


def strip_outline(rng: np.random.Generator) -> Outline:
    """A long thin bent band, like a branch in front of the camera: clutter."""
    along = np.linspace(-1, 1, 24)
    bend = float(rng.uniform(-0.35, 0.35))
    width = float(rng.uniform(0.04, 0.1))
    centre = along + 1j * bend * (along**2 - 0.5)
    half = 1j * width * (1 + float(rng.uniform(-0.5, 0.5)) * along)
    return [np.concatenate([centre - half, (centre + half)[::-1]])]


def _resample(contour: np.ndarray) -> np.ndarray:
    """Put :data:`_POINTS` points at even distances along a closed contour."""
    closed = np.concatenate([contour, contour[:1]])
    length = np.zeros(len(closed))
    np.abs(closed[1:] - closed[:-1]).cumsum(out=length[1:])
    return np.interp(np.arange(_POINTS) * (length[-1] / _POINTS), length, closed)


def _soften(points: np.ndarray, reach: int) -> np.ndarray:
    """Round the corners off: a circular moving average over ``2 * reach + 1`` points."""
    if not reach:
        return points
    wrapped = np.concatenate([points[-reach:], points, points[:reach]])
    return np.convolve(wrapped, np.full(2 * reach + 1, 1 / (2 * reach + 1)), 'valid')


def pose(rng: np.random.Generator, outline: Outline, centre: complex, radius: float, *,
         turn: float, strength: float = 1.0) -> Outline:
    """Place an outline in the picture: soften, wobble, squeeze, shear, tilt, turn, scale, move.

    Args:
        rng: Source of every random choice.
        outline: Contours around the origin.
        centre, radius: of the result in pixels; the radius is that of its farthest point.
        turn: Largest rotation either way, degrees.
        strength: 0 turns and scales only; 1 is the full deformation.
    """
    axis, tilt_axis, phase_x, phase_y = (rng.random(4) * (2 * math.pi)).tolist()
    angle, squeeze, shear, tilt, wobble = rng.random(5).tolist()
    turned = math.radians(turn) * (2 * angle - 1)
    squeeze = (0.65 + 0.35 * squeeze)**strength
    shear = strength * (0.4 * shear - 0.2)
    tilt = strength * 0.25 * tilt
    wobble = strength * 0.035 * wobble
    waves, soft = int(rng.integers(2, 5)), int(strength * rng.integers(0, 4))
    into_axis, out_of_axis = cmath.exp(-1j * axis), cmath.exp(1j * (axis + turned))
    along_tilt = cmath.exp(-1j * tilt_axis)

    posed = []
    for contour in outline:
        points = _soften(_resample(contour), soft)
        angle = waves * np.angle(points)
        points = points + wobble * (np.sin(angle + phase_x) + 1j * np.sin(angle + phase_y))
        points = points * into_axis
        points = (squeeze * points.real + shear * points.imag + 1j * points.imag) * out_of_axis
        posed.append(points / (1 + tilt * (points * along_tilt).real))
    outer = posed[0]
    middle = complex(outer.real.min() + outer.real.max(), outer.imag.min() + outer.imag.max()) / 2
    scale = radius / float(np.abs(outer - middle).max())
    return [(points - middle) * scale + centre for points in posed]
