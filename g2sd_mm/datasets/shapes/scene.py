"""One scene: what is in it, what hides what, and how it looks.

The geometry is settled first (cheap, repeated until the scene is fair), then painted once. A scene
is a pure function of (seed, task, split, index, size): it does not matter which process draws it
or what was drawn before.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass

import cv2
import numpy as np

from .depth import scene_depth
from .outlines import CLASSES, VOID, Outline, blob_outline, class_outline, pose, strip_outline
from .textures import random_colour, random_crop, recolour

_SUPER = 4  # sub-pixels per side: 16 coverage levels look smooth and cost little
_SHIFT = 4  # fractional bits of a vertex, on top of the sub-pixels


@dataclass(frozen=True)
class Patch:
    """Coverage of one shape, cut to the picture.

    Attributes:
        top, left: First row and column of the patch in the picture.
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
    """Blend a texture of the patch's size into the picture, in place and in integers, so that every
    machine agrees."""
    if not patch.alpha.size:
        return
    under = canvas[patch.window]
    alpha = cv2.merge([patch.alpha] * 3).astype(np.uint16)
    mixed = texture * alpha + under * (255 - alpha) + np.uint16(127)
    under[...] = mixed // 255


TASKS = ('cls', 'det', 'seg', 'depth')
SPLITS = ('train', 'val')
MIN_VISIBLE = 0.15
"""Instances of which less than this fraction can be seen are not annotated."""

_TRIES = 12
_CLUTTER = -1


@dataclass(frozen=True)
class Recipe:
    """What differs between the tasks' scenes.

    Attributes:
        objects: Number of main objects.
        radius: Size of a main object (distance of its farthest point from its centre).
        spread: How far a main object's centre may be from the picture's centre, per axis.
        distractors: Number of small objects of other classes than the main one.
        min_visible: Least visible fraction of the main object (only with one main object).
    """

    objects: tuple[int, int]
    radius: tuple[float, float]
    spread: float
    distractors: tuple[int, int]
    min_visible: float


CLS_RECIPE = Recipe((1, 1), (0.34, 0.46), spread=0.06, distractors=(0, 1), min_visible=0.7)
"""One dominant object, near the centre."""

SCENE_RECIPE = Recipe((3, 6), (0.12, 0.26), spread=0.42, distractors=(0, 0), min_visible=0.0)
"""Several objects that overlap: one picture for detection and segmentation."""

# How hard all scenes are. Ranges are inclusive; lengths are fractions of the picture's side.
_DISTRACTOR_RADIUS = (0.07, 0.11)
_BEHIND, _FRONT = (0, 2), (0, 1)  # pieces of clutter behind the objects, and among or before them
_TURN = 15  # degrees, of an object away from upright
_CONTRAST, _CLUTTER_CONTRAST = (55, 110), (10, 45)  # grey levels: a step from what is under it
# Probability that an object's step goes up; 0.5 makes brightness useless as a hint that something
# is an object (never of which class), and the set much harder.
_LIGHTER = 0.95
_TINT = 25  # grey levels, of each colour channel
_GRAIN = (0.2, 0.6)  # factors on the contrast inside of a texture
_NOISE = 8  # grey levels


@dataclass(frozen=True)
class Instance:
    """One object of a scene.

    Attributes:
        label: 0 .. 9, position in ``CLASSES``.
        mask: bool (size, size), the pixels where it can be seen.
        visible: Visible fraction of the whole object, 0 .. 1; what lies outside the picture
            counts as hidden.
    """

    label: int
    mask: np.ndarray
    visible: float

    @property
    def annotated(self) -> bool:
        """Whether enough of it can be seen to ask anyone to find it."""
        return self.visible >= MIN_VISIBLE


@dataclass(frozen=True)
class Scene:
    """A finished scene.

    Attributes:
        image: uint8 RGB (size, size, 3).
        label: Class of the main object, 0 .. 9.
        instances: Every object, also the hidden ones, back to front.
        depth: float64 (size, size), metres; None but for the task 'depth'.
    """

    image: np.ndarray
    label: int
    instances: tuple[Instance, ...]
    depth: np.ndarray | None = None

    def semantic(self) -> np.ndarray:
        """uint8 (size, size): 0 background, 1 .. 10 class, 255 object too hidden to score."""
        out = np.zeros(self.image.shape[:2], np.uint8)
        for instance in self.instances:
            out[instance.mask] = instance.label + 1 if instance.annotated else VOID
        return out


@dataclass(frozen=True)
class _Piece:
    label: int
    main: bool
    patch: Patch


def _between(rng: np.random.Generator, bounds: tuple[int, int]) -> int:
    return int(rng.integers(bounds[0], bounds[1] + 1))


def _clutter(rng: np.random.Generator, size: int, reach: float, front: bool) -> _Piece:
    band = front or rng.random() < 0.5
    outline = strip_outline(rng) if band else blob_outline(rng)
    centre = size * complex(*rng.uniform(0.5 - reach, 0.5 + reach, 2).tolist())
    radius = float(rng.uniform(0.35, 0.75) if band else rng.uniform(0.12, 0.35)) * size
    posed = pose(rng, outline, centre, radius, turn=180, strength=0.5)
    return _Piece(_CLUTTER, False, rasterise(posed, size))


def _object(rng: np.random.Generator, size: int, label: int, centre: complex, radius: float,
            main: bool) -> _Piece:
    outline = pose(rng, class_outline(rng, label), centre, radius, turn=_TURN)
    return _Piece(label, main, rasterise(outline, size))


def _distractor(rng: np.random.Generator, size: int, main_label: int) -> _Piece:
    label = (main_label + int(rng.integers(1, len(CLASSES)))) % len(CLASSES)
    # Around the main object, seldom on it.
    offset = cmath.rect(rng.uniform(0.36, 0.5), rng.uniform(0, 2 * cmath.pi))
    radius = float(rng.uniform(*_DISTRACTOR_RADIUS)) * size
    return _object(rng, size, label, (0.5 + 0.5j + offset) * size, radius, False)


def _mains(rng: np.random.Generator, recipe: Recipe, size: int, label: int) -> list[_Piece]:
    count = _between(rng, recipe.objects)
    # Without repetition first, so that a scene shows many classes and the set stays balanced.
    others = (label + 1 + rng.permutation(len(CLASSES) - 1)) % len(CLASSES)
    labels = [label, *others.tolist()][:count]
    placed: list[tuple[complex, float]] = []
    pieces = []
    for one in labels:
        radius = float(rng.uniform(*recipe.radius)) * size
        corners = (0.5 + recipe.spread * rng.uniform(-1, 1, (3, 2))) * size
        options = [complex(x, y) for x, y in corners.tolist()]
        # The roomiest of three places: overlaps stay common but no heap of shapes builds up.
        spot = max(options, key=lambda option: min(
            (abs(option - at) - reach for at, reach in placed), default=0.0))
        placed.append((spot, radius))
        pieces.append(_object(rng, size, one, spot, radius, True))
    order = rng.permutation(len(pieces))
    return [pieces[i] for i in order]


def _plan(rng: np.random.Generator, recipe: Recipe, size: int, label: int) -> list[_Piece]:
    """Choose all pieces, back to front."""
    behind = [_clutter(rng, size, 0.5, False) for _ in range(_between(rng, _BEHIND))]
    pieces = _mains(rng, recipe, size, label)
    for _ in range(_between(rng, recipe.distractors)):
        extra = _distractor(rng, size, label)
        pieces.insert(int(rng.integers(len(pieces) + 1)), extra)
    for _ in range(_between(rng, _FRONT)):
        extra = _clutter(rng, size, 0.3, True)
        pieces.insert(int(rng.integers(1, len(pieces) + 1)), extra)
    return behind + pieces


def _instances(pieces: list[_Piece], size: int) -> tuple[list[Instance], Instance | None]:
    """Work out who is seen where; also return the (first) main instance."""
    owner = np.full((size, size), 255, np.uint8)
    for number, piece in enumerate(pieces):
        owner[piece.patch.window][piece.patch.alpha >= 128] = number
    instances, main = [], None
    for number, piece in enumerate(pieces):
        if piece.label == _CLUTTER:
            continue
        mask = owner == number
        seen = int(np.count_nonzero(mask)) / max(1, piece.patch.full_area)
        instances.append(Instance(piece.label, mask, seen))
        if piece.main and main is None:
            main = instances[-1]
    return instances, main


def _is_fair(instances: list[Instance], main: Instance | None, recipe: Recipe) -> bool:
    """Whether the question the scene asks has one answer."""
    if recipe.objects[1] > 1:
        return any(instance.annotated for instance in instances)
    if main is None or main.visible < recipe.min_visible:
        return False
    largest_other = max((int(i.mask.sum()) for i in instances if i is not main), default=0)
    return int(main.mask.sum()) > 2 * largest_other


def _paint_all(rng: np.random.Generator, pieces: list[_Piece], size: int) -> np.ndarray:
    canvas = random_colour(rng, random_crop(rng, size, size), _GRAIN)
    for piece in pieces:
        height, width = piece.patch.alpha.shape
        if not (height and width):
            continue
        texture = random_crop(rng, height, width)
        under = np.asarray(cv2.mean(canvas[piece.patch.window]))[:3]
        clutter = piece.label == _CLUTTER
        step = float(rng.uniform(*(_CLUTTER_CONTRAST if clutter else _CONTRAST)))
        if rng.random() >= (0.5 if clutter else _LIGHTER):
            step = -step
        target = under + step + rng.uniform(-_TINT, _TINT, 3)
        texture = recolour(texture, np.clip(target, 10, 245), float(rng.uniform(*_GRAIN)))
        paint(canvas, piece.patch, texture)
    return _photograph(rng, canvas)


def _photograph(rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    """What a camera adds: uneven light, slight blur, noise."""
    size = canvas.shape[0]
    if rng.random() < 0.4:
        canvas = cv2.GaussianBlur(canvas, (3, 3), 0)
    slope = rng.uniform(-45, 45, 2)
    ramp = np.linspace(-0.5, 0.5, size)
    light = np.rint(slope[0] * ramp[:, None] + slope[1] * ramp).astype(np.int16)
    amplitude = _between(rng, (0, _NOISE))
    grain = rng.integers(-amplitude, amplitude + 1, canvas.shape, dtype=np.int16)
    mixed = canvas + light[..., None] + grain
    return np.clip(mixed, 0, 255).astype(np.uint8)


def render_scene(task: str, split: str, index: int, *, size: int, seed: int = 0) -> Scene:
    """Draw one scene.

    Args:
        task: 'cls', 'det', 'seg' or 'depth' (all but 'cls' give the same scene).
        split: 'train' or 'val'.
        index: Number of the image in its split, from 0. The main object's class is
            ``index % 10``, so any range of images is balanced.
        size: Side of the picture in pixels.
        seed: Seed of the whole data set.
    """
    single = task == 'cls'
    recipe = CLS_RECIPE if single else SCENE_RECIPE
    stream = np.random.SeedSequence([seed, 0 if single else 1, SPLITS.index(split), index])
    rng = np.random.Generator(np.random.PCG64(stream))
    label = index % len(CLASSES)
    for _ in range(_TRIES):
        pieces = _plan(rng, recipe, size, label)
        instances, main = _instances(pieces, size)
        if _is_fair(instances, main, recipe):
            break
    else:
        # Nothing in front of anything: always fair, and too rare to shift the difficulty.
        pieces = _mains(rng, recipe, size, label)
        instances, _ = _instances(pieces, size)
    depth = scene_depth([piece.patch for piece in pieces], size) if task == 'depth' else None
    return Scene(_paint_all(rng, pieces, size), label, tuple(instances), depth)
