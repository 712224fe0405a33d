"""Look at one image file as training would read it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ..data_layouts.copies import original
from ..image_files import UNTURNED, ends_early, misread, opened_quietly
from .findings import Finding

_FORMATS = {
    '.jpg': 'JPEG', '.jpeg': 'JPEG', '.png': 'PNG', '.bmp': 'BMP', '.ppm': 'PPM', '.pgm': 'PPM',
    '.tif': 'TIFF', '.tiff': 'TIFF', '.webp': 'WEBP', '.jfif': 'JPEG', '.gif': 'GIF',
    '.avif': 'AVIF',
}  # fmt: skip
_ALSO_JPEG = 'MPO'  # several JPEGs in one file; the first one is the image
_ORIENTATION = 0x0112  # EXIF tag; 1 is upright
_DEEP_MODES = ('I', 'F')


@dataclass(frozen=True)
class Picture:
    """What became of one image file.

    Attributes:
        size: (width, height) in pixels as it is decoded, upright; None if it cannot be.
        digest: BLAKE2b-128 of size and pixels (BGR, 8 bits, as OpenCV decodes them), in hex; equal
            for the same pixels in another file format, not for another compression.
        rotated: an EXIF tag turns it when it is read.
        findings: what is wrong with the file by itself.
    """

    path: str
    size: tuple[int, int] | None = None
    digest: str = ''
    rotated: bool = False
    findings: tuple[Finding, ...] = ()


def look_at_image(path: str) -> Picture:
    """Decode an image file and tell what is wrong with it; never raises for a bad file."""
    problem = _before_decoding(Path(path))
    if problem:
        return Picture(path, findings=(Finding(problem, path),))
    try:
        content = Path(path).read_bytes()
    except OSError as error:  # no permission, or a disk that fails
        return Picture(path, findings=(Finding('unreadable', path, str(error.strerror)),))
    findings = []
    head = _Head.of(content)
    if head.too_large:
        return Picture(path, findings=(Finding('too-large', path, head.too_large),))
    wrong = misread(content)
    with _decoder_messages() as messages:
        pixels = None if wrong else _decoded(content)
    if pixels is None:
        half = ends_early(content) or _lacks_its_end(content)
        kind, detail = ('truncated', '') if half else ('unreadable', wrong)
        return Picture(path, findings=(Finding(kind, path, detail or head.format or 'no image'),))
    if any('Corrupt JPEG data' in line for line in messages):
        findings.append(Finding('damaged', path, messages[0]))
    # links of a converted copy have one ending, whatever they lead to
    expected = _FORMATS.get(Path(original(path)).suffix.lower())
    if head.format and expected and head.format != expected:
        findings.append(Finding('wrong-ending', path, f'a {head.format} file'))
    if head.mode == 'CMYK':
        findings.append(Finding('cmyk', path))
    if head.mode.startswith(_DEEP_MODES) or head.bits > 8:
        findings.append(Finding('16-bit', path, f'mode {head.mode}'))
    if rotated := (head.orientation != 1):
        findings.append(Finding('rotated', path, f'orientation {head.orientation}'))
    height, width = pixels.shape[:2]
    digest = hashlib.blake2b(f'{width}x{height}'.encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return Picture(path, (width, height), digest.hexdigest(), rotated, tuple(findings))


def _before_decoding(path: Path) -> str | None:
    if not path.exists():
        return 'missing-image'
    if not path.is_file():  # a folder, a pipe, a device: reading might not end
        return 'unreadable'
    return 'empty-file' if path.stat().st_size == 0 else None


@dataclass(frozen=True)
class _Head:
    """What the first bytes of a file say; nothing is decoded."""

    format: str = ''
    mode: str = ''
    bits: int = 8
    orientation: int = 1
    too_large: str = ''

    @classmethod
    def of(cls, content: bytes) -> _Head:
        try:
            with opened_quietly(BytesIO(content)) as image:
                tagged = {} if image.format in UNTURNED else image.getexif()
                orientation = tagged.get(_ORIENTATION, 1)
                return cls(
                    format='JPEG' if image.format == _ALSO_JPEG else str(image.format),
                    mode=image.mode,
                    # pillow reads 16-bit colours as 8-bit ones without a word
                    bits=content[24] if image.format == 'PNG' else 8,
                    orientation=orientation if orientation in range(2, 9) else 1,
                )
        except Image.DecompressionBombError as error:
            return cls(too_large=str(error).partition(',')[0])
        except Exception:  # damaged data can make a parser raise anything; decoding will tell
            return cls()


def _decoded(content: bytes) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None


def _lacks_its_end(content: bytes) -> bool:
    """Whether an undecodable file of any format is whole but for its end."""
    try:
        with opened_quietly(BytesIO(content)) as image:
            image.load()
    except OSError as error:
        return 'truncated' in str(error)
    except Exception:  # as above
        return False
    return False


@contextmanager
def _decoder_messages() -> Iterator[list[str]]:
    """What the C libraries write to stderr inside of the block: libjpeg says only there that data
    are damaged. The list is filled at the end of the block."""
    messages: list[str] = []
    kept = os.dup(2)
    file = os.memfd_create('messages')
    os.dup2(file, 2)
    try:
        yield messages
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.lseek(file, 0, os.SEEK_SET)
        messages += os.read(file, 1 << 16).decode(errors='replace').splitlines()
        os.close(file)
