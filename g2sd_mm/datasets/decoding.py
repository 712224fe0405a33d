"""Encoded images whose size is known before, and which are decoded no finer than needed."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from ..compat.image_files import too_large
from ..image_files import misread

try:
    import simplejpeg
except ModuleNotFoundError:  # a machine that it has no wheel for
    simplejpeg = None

#: A JPEG can be decoded at 1/8, 1/4 or 1/2 of its width and height, from the low frequencies of its
#: blocks of 8 x 8 pixels.
REDUCTIONS = (8, 4, 2)
# JPEG: how a file starts and ends, how a marker starts, and the kinds of marker that matter. A
# frame's is followed by its length, bits, height, width and number of channels.
_START, _END, _MARKER = b'\xff\xd8', b'\xff\xd9', 0xFF
_APP1, _SCAN = 0xE1, 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = frozenset({0xC0, 0xC1})
_FRAME, _HEIGHT = struct.Struct('>BHHB'), struct.Struct('>H')
_BELOW = 32  # rows of pixels at least as far down as colours are interpolated from
_ORIENTATION, _UPRIGHT = 0x0112, 1  # EXIF's tag, and its value for what needs no turning
_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


class EncodedImage:
    """The bytes of an image file.

    A plain JPEG (grey or of three colours, upright) is decoded when it is asked for, by simplejpeg;
    anything else at once, because only then is its size certain, by OpenCV, as in OpenMMLab. Both
    give the same pixels.

    Args:
        data: content of the file.

    Attributes:
        data: the bytes.
        shape: height and width in pixels.
        reducible: whether it can be decoded in part or at less than its full size.

    Raises:
        ValueError: if it is no image, a JPEG without its end, or a TIFF file of floats.
    """

    def __init__(self, data: bytes) -> None:
        if reason := misread(data):
            raise ValueError(reason)
        self.data = data
        self._jpeg = _plain_jpeg(data)
        self.reducible = self._jpeg is not None
        if self._jpeg is not None:
            self.shape = self._jpeg.shape
        else:
            self._pixels = _by_opencv(data)
            self.shape = self._pixels.shape[:2]
        if too_large(*self.shape):
            raise ValueError(f'{self.shape[1]}x{self.shape[0]} px, more than are read')

    def decode(self, reduction: int = 1, rows: int | None = None) -> np.ndarray:
        """The pixels, uint8 [ceil(height / reduction), ceil(width / reduction), 3], BGR.

        Args:
            reduction: 1, or one of :data:`REDUCTIONS` if the image is ``reducible``.
            rows: how many rows of the whole image are needed, from the top; those below may be
                missing. None for all.

        Raises:
            ValueError: if the file is broken.
        """
        if self._jpeg is None:
            return self._pixels
        if simplejpeg is not None:
            data: bytes | bytearray = self.data
            height = self.shape[0]
            wanted = height if rows is None else rows + _BELOW
            if in_part := wanted < height and self._jpeg.row_by_row and data.endswith(_END):
                # A decoder stops at the height that the header names.
                height, shorter = wanted, bytearray(data)
                _HEIGHT.pack_into(shorter, self._jpeg.height_at, height)
                data = shorter
            try:
                return simplejpeg.decode_jpeg(
                    data,
                    'BGR',
                    min_height=-(-height // reduction),
                    min_width=-(-self.shape[1] // reduction),
                    min_factor=reduction,
                    strict=not in_part,  # what was left out is no error
                )
            except ValueError:
                pass  # OpenCV decides what is broken, so that the same files count as broken
        return _by_opencv(self.data, reduction)


@dataclass(frozen=True)
class _Jpeg:
    shape: tuple[int, int]
    height_at: int  # where the file has its height
    row_by_row: bool  # rows of blocks follow each other; not so in progressive files


def _plain_jpeg(data: bytes) -> _Jpeg | None:
    """What the header says; None for anything but a plain JPEG.

    The markers are walked over here, because opening the file with Pillow takes as long as a tenth
    of decoding it; Pillow reads the EXIF data of the files that have some.
    """
    at, frame = len(_START), None
    while data.startswith(_START) and at + 12 <= len(data) and data[at] == _MARKER:
        kind, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], 'big')
        if kind in _FRAMES:
            frame, (bits, *shape, channels) = kind, _FRAME.unpack_from(data, at + 4)
            height_at = at + 5
            if bits != 8 or not shape[0] or channels not in (1, 3):
                return None
        elif kind == _SCAN and frame is not None:
            row_by_row = frame in _SEQUENTIAL and data[at + 4] == channels
            return _Jpeg(tuple(shape), height_at, row_by_row)
        elif kind == _APP1 and data.startswith(b'Exif', at + 4) and _orientation(data) != _UPRIGHT:
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
