"""One limit of pixels for every decoder, so that a small file cannot fill the memory.

pillow refuses pictures of more than twice its ``MAX_IMAGE_PIXELS``, 179 million pixels; OpenCV
allows six times as many. OpenCV reads its limit from the environment when it is loaded, and child
processes inherit it there; pillow is given the same.
"""

import os
import warnings
from typing import Any

from g2sd_mm.compat.import_hooks import after_import

__all__ = ['limit_pixels', 'too_large']

VARIABLE = 'OPENCV_IO_MAX_IMAGE_PIXELS'
DEFAULT = 178_956_970  # pillow's own


def limit_pixels() -> None:
    """Set the limit, unless the variable is set already. To be called before OpenCV is loaded."""
    os.environ.setdefault(VARIABLE, str(DEFAULT))
    after_import('PIL.Image', _limit_pillow)


def too_large(height: int, width: int) -> bool:
    """Whether a picture is beyond the limit, for decoders that know none."""
    text = os.environ.get(VARIABLE, '')
    return height * width > (int(text) if text.isdecimal() else DEFAULT)


def _limit_pillow(image: Any) -> None:
    text = os.environ[VARIABLE]
    if text.isdecimal() and image.MAX_IMAGE_PIXELS:
        image.MAX_IMAGE_PIXELS = int(text) // 2
    # between half the limit and the limit pillow warns and reads on
    warnings.filterwarnings('ignore', category=image.DecompressionBombWarning)
