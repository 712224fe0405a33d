"""Encoded images whose size is known before, and which are decoded no finer than needed."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
from PIL import Image

#: A JPEG can be decoded at 1/8, 1/4 or 1/2 of its width and height, from the low frequencies of its
#: blocks of 8 x 8 pixels.
REDUCTIONS = (8, 4, 2)
# JPEG: what a file starts with, what every marker starts with, and the kinds of marker that matter.
# A frame's is followed by its length, bits, height, width and number of channels.
_START, _MARKER, _APP1 = b'\xff\xd8', 0xFF, 0xE1
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_FRAME = struct.Struct('>BHHB')
_ORIENTATION, _UPRIGHT = 0x0112, 1  # EXIF's tag, and its value for what needs no turning
_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


class EncodedImage:
    """The bytes of an image file, decoded by OpenCV, which OpenMMLab decodes with too.

    A plain JPEG (grey or of three colours, upright) is decoded when it is asked for. Anything else
    is decoded at once, because only then is its size certain.

    Args:
        data: content of the file.

    Attributes:
        data: the bytes.
        shape: height and width in pixels.
        reducible: whether it can be decoded at less than its full size.

    Raises:
        ValueError: if it is no image.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        shape = _plain_jpeg_shape(data)
        self.reducible = shape is not None
        self._pixels = None if self.reducible else _by_opencv(data)
        self.shape = shape or self._pixels.shape[:2]

    def decode(self, reduction: int = 1) -> np.ndarray:
        """The pixels, uint8 [ceil(height / reduction), ceil(width / reduction), 3], BGR.

        Args:
            reduction: 1, or one of :data:`REDUCTIONS` if the image is ``reducible``.

        Raises:
            ValueError: if the file is broken or ends too early.
        """
        if self._pixels is not None:
            return self._pixels
        return _by_opencv(self.data, reduction)


def _plain_jpeg_shape(data: bytes) -> tuple[int, int] | None:
    """Height and width by the header; None for anything but a plain JPEG.

    The markers before the frame's are walked over here, because opening the file with Pillow takes
    as long as a tenth of decoding it; Pillow reads the EXIF data of the files that have some.
    """
    if not data.startswith(_START):
        return None
    at = len(_START)
    while at + _FRAME.size + 4 <= len(data) and data[at] == _MARKER:
        kind, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], 'big')
        if kind in _FRAMES:
            bits, height, width, channels = _FRAME.unpack_from(data, at + 4)
            return (height, width) if bits == 8 and height and channels in (1, 3) else None
        if kind == _APP1 and data.startswith(b'Exif', at + 4) and _orientation(data) != _UPRIGHT:
            return None
        at += 2 + length
    return None


def _orientation(data: bytes) -> int:
    try:
        return Image.open(io.BytesIO(data)).getexif().get(_ORIENTATION, _UPRIGHT)
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError):
        return 0  # who knows


def _by_opencv(data: bytes, reduction: int = 1) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS[reduction]) if data else None
    if pixels is None:
        raise ValueError('not an image, or only a part of one')
    return pixels
