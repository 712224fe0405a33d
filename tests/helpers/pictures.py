"""Pictures with something in them, for predictions that are compared."""

from __future__ import annotations

import numpy as np


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8 [height, width, 3]: noise over a coarse pattern, with three plain rectangles."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 200, (-(-height // 16), -(-width // 16), 3))
    pixels = coarse.repeat(16, axis=0).repeat(16, axis=1)[:height, :width]
    pixels = pixels + rng.integers(0, 56, pixels.shape)
    for _ in range(3):
        top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
        pixels[top : top + height // 3, left : left + width // 3] = rng.integers(0, 256, 3)
    return pixels.astype(np.uint8)
