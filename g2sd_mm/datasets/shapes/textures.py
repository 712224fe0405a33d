"""Natural textures: random, randomly coloured crops of photographs that scikit-image ships.

Only PNG files that lie inside the scikit-image wheel are used and they are opened by path, so
nothing can reach for the network. JPEG files are left out on purpose: decoders may differ in the
last bit from one build to the next, and the data set promises the same bytes on every run. So is
the photograph of coins, which is full of discs.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

PHOTOGRAPHS = (
    'astronaut', 'brick', 'camera', 'chelsea', 'coffee', 'grass', 'gravel', 'ihc', 'moon',
    'motorcycle_left', 'page', 'text',
)
_LEVELS = 3
_SMALLEST_SIDE = 60


def _photograph_folder() -> Path:
    spec = importlib.util.find_spec('skimage')
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            'Shapes needs the photographs of scikit-image: pip install scikit-image')
    return Path(next(iter(spec.submodule_search_locations))) / 'data'


@functools.lru_cache(maxsize=1)
def texture_bank() -> tuple[tuple[np.ndarray, ...], ...]:
    """Load every photograph once per process, each at up to three scales (1, 1/2, 1/4).

    Returns:
        One tuple per photograph of read-only uint8 RGB arrays (H, W, 3), finest first.

    Raises:
        ModuleNotFoundError: scikit-image is not installed.
        FileNotFoundError: this scikit-image does not bundle one of :data:`PHOTOGRAPHS`.
    """
    folder = _photograph_folder()
    bank = []
    for name in PHOTOGRAPHS:
        path = folder / f'{name}.png'
        try:
            with Image.open(path) as image:
                levels = [np.array(image.convert('RGB'))]
        except OSError as error:
            raise FileNotFoundError(
                f'this scikit-image does not bundle a readable {path}') from error
        while len(levels) < _LEVELS and min(levels[-1].shape[:2]) >= 2 * _SMALLEST_SIDE:
            # The even crop makes each step an exact 2x2 mean: integer arithmetic, no rounding luck.
            height, width = (side // 2 for side in levels[-1].shape[:2])
            even = levels[-1][:2 * height, :2 * width]
            levels.append(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA))
        for level in levels:
            level.setflags(write=False)
        bank.append(tuple(levels))
    return tuple(bank)


def random_crop(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A random window of a random photograph at a random scale, flipped and quarter-turned.

    Returns:
        uint8 RGB array (height, width, 3), a fresh copy.
    """
    bank = texture_bank()
    levels = bank[int(rng.integers(len(bank)))]
    image = levels[int(rng.integers(len(levels)))]
    zoom = float(rng.uniform(0.6, 1.3))
    turn = bool(rng.integers(2))
    rows, columns = (width, height) if turn else (height, width)
    rows = min(max(8, round(rows * zoom)), image.shape[0])
    columns = min(max(8, round(columns * zoom)), image.shape[1])
    top = int(rng.integers(image.shape[0] - rows + 1))
    left = int(rng.integers(image.shape[1] - columns + 1))
    flip_rows, flip_columns = rng.integers(2, size=2)
    crop = image[top:top + rows, left:left + columns]
    crop = crop[::-1 if flip_rows else 1, ::-1 if flip_columns else 1]
    crop = np.ascontiguousarray(crop.transpose(1, 0, 2) if turn else crop)
    return cv2.resize(crop, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)


def recolour(texture: np.ndarray, mean: np.ndarray, contrast: float) -> np.ndarray:
    """A uint8 texture (H, W, 3) with another mean colour, its deviation from it times a factor."""
    old = np.asarray(cv2.mean(texture))[:3]
    ramp = np.arange(256.0)[:, None]
    table = np.clip(np.rint((ramp - old) * contrast + mean), 0, 255).astype(np.uint8)
    return cv2.LUT(texture, table[None])


def random_colour(rng: np.random.Generator, texture: np.ndarray,
                  contrast: tuple[float, float]) -> np.ndarray:
    """Jitter brightness, contrast (by a range of factors), channel order and tint of a texture."""
    texture = np.ascontiguousarray(texture[..., rng.permutation(3)])
    mean = np.asarray(cv2.mean(texture))[:3]
    mean = 0.4 * mean + 0.6 * rng.uniform(60, 150) + rng.uniform(-25, 25, 3)
    return recolour(texture, np.clip(mean, 30, 170), float(rng.uniform(*contrast)))
