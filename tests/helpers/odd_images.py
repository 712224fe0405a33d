"""Image files with everything that can be wrong with one."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (60, 40)  # width, height


def pixels(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Smooth colours with a little noise, uint8 [height, width, 3]."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(0, 200, size[0])[None, :, None] * rng.uniform(0.3, 1, 3)
    return (slope + rng.uniform(0, 50, (size[1], size[0], 3))).astype(np.uint8)


def encoded(seed: int = 0, kind: str = 'JPEG', mode: str = 'RGB', **options) -> bytes:
    """A whole image file."""
    file = BytesIO()
    Image.fromarray(pixels(seed)).convert(mode).save(file, kind, **options)
    return file.getvalue()


def rotated(seed: int = 0, orientation: int = 6) -> bytes:
    """A JPEG with an EXIF tag that turns it by a quarter."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(seed, exif=exif)


def huge_png(side: int = 60000) -> bytes:
    """A PNG of a few bytes that says it has ``side`` x ``side`` pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        code = zlib.crc32(name + content)
        return struct.pack('>I', len(content)) + name + content + struct.pack('>I', code)

    header = struct.pack('>IIBBBBB', side, side, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return (
        b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', data) + chunk(b'IEND', b'')
    )


def huge_jpeg() -> bytes:
    """A JPEG of few bytes that says it has 65,500 x 65,500 pixels."""
    content = bytearray(encoded())
    at = content.index(b'\xff\xc0') + 5
    content[at : at + 4] = (65500).to_bytes(2, 'big') * 2
    return bytes(content)


def hollow(content: bytes) -> bytes:
    """A file of which a part was overwritten with zeros; its length and end stay."""
    start, size = len(content) * 3 // 4, len(content) // 8
    return content[:start] + bytes(size) + content[start + size :]


def deep_png(path: Path) -> None:
    """A 16-bit grey PNG."""
    Image.fromarray(np.arange(2400, dtype=np.uint16).reshape(40, 60) * 20).save(path)
