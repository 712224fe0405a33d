"""Images that are not RGB photographs: read as a pipeline reads them, and shown as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from mmengine.registry import TRANSFORMS

from ..errors import DataError, UserError


def read_pixels(step: Mapping[str, Any], path: str) -> np.ndarray:
    """Pixels [height, width, C] of a file, as the first step of a test pipeline reads them.

    Raises:
        UserError: if the file cannot be read so.
    """
    reader = TRANSFORMS.build(dict(step))
    try:
        results = reader({'img_path': path})
    except (DataError, OSError, ValueError, AssertionError) as error:
        raise UserError(
            f'{path} cannot be read by {step.get("type")} of the test pipeline: {error}'
        ) from error
    return with_channels(results['img'])


def with_channels(pixels: np.ndarray) -> np.ndarray:
    """[height, width] as [height, width, 1]; three sides as they are."""
    return pixels[..., None] if pixels.ndim == 2 else pixels


def shown(pixels: np.ndarray) -> np.ndarray:
    """A picture to draw on, uint8 [height, width, 3]: the first three channels, or one as grey.

    Values that are no bytes are stretched from the smallest to the largest.
    """
    pixels = with_channels(pixels)
    pixels = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1].repeat(3, axis=2)
    if pixels.dtype != np.uint8:
        values = pixels.astype(np.float64)
        low, high = values.min(), values.max()
        pixels = ((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)
    return np.ascontiguousarray(pixels)
