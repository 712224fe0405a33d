"""Which files of a folder are images, whole ones: one answer for training, checker and suites.

Imports nothing heavy: the checker runs without torch.
"""

from __future__ import annotations

import os
import struct
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from PIL.Image import Image

_Item = TypeVar('_Item')
#: Endings of the images that are read, whatever their case.
ENDINGS = (
    '.jpg', '.jpeg', '.jfif', '.png', '.ppm', '.pgm', '.bmp', '.tif', '.tiff', '.webp', '.gif',
    '.avif',
)  # fmt: skip
#: Images too, which no decoder here reads.
UNREAD_ENDINGS = (
    '.heic', '.heif', '.jp2', '.j2k', '.jxl', '.psd', '.svg', '.eps', '.raw', '.dng', '.cr2',
    '.cr3', '.nef', '.arw', '.ico', '.tga', '.exr', '.hdr', '.dcm',
)  # fmt: skip
#: pillow's names of formats that OpenCV, and so training, reads without turning them by EXIF.
UNTURNED = ('WEBP', 'AVIF')
#: How a JPEG begins and ends, and the marker before its pixels.
_START, _END, _SCAN = b'\xff\xd8', b'\xff\xd9', 0xDA
#: The entry of a TIFF file that says LogLuv, in both orders of bytes: OpenCV's way to write floats.
_LOGLUV = {
    magic: [struct.pack(f'{order}HHIH', 259, 3, 1, code) for code in (34676, 34677)]
    for magic, order in ((b'II*\0', '<'), (b'MM\0*', '>'))
}
#: What operating systems, file servers, archives and runs leave behind beside hidden files.
_SYSTEM = frozenset(
    ('thumbs.db', 'ehthumbs.db', 'desktop.ini', '__macosx', '@eadir', '#recycle', '$recycle.bin',
     'system volume information', 'lost+found', '__pycache__', 'icon\r', 'work_dirs')
)  # fmt: skip


def is_stray(name: str) -> bool:
    """Whether a file or folder of this name is never data: hidden, of a system or an editor, or
    the folder of runs, which a command that is typed in a data folder makes there."""
    return name.startswith(('.', '~$')) or name.lower() in _SYSTEM


def is_image(name: str, endings: Iterable[str] = ENDINGS) -> bool:
    """Whether a file of this name is read as an image."""
    if endings is ENDINGS:  # asked of every file of a folder
        return name.lower().endswith(ENDINGS)
    return name.lower().endswith(tuple(ending.lower() for ending in endings))


def is_endless(path: str) -> bool:
    """Whether a link leads to a folder that it lies in, so that a walk would never end."""
    if not os.path.islink(path):
        return False
    inside = os.path.join(os.path.realpath(os.path.dirname(path)), '')
    return inside.startswith(os.path.join(os.path.realpath(path), ''))


def is_broken_link(path: str | Path) -> bool:
    """Whether a link that is not stray leads to nothing, as after its data were moved."""
    named = not is_stray(os.path.basename(path))  # editors lock files with such links
    return named and os.path.islink(path) and not os.path.exists(path)


def files_below(folder: str | Path, passed_over: list[Path] | None = None) -> Iterator[Path]:
    """All files, in an order that depends on their names alone.

    Links to folders are followed, as in training. Stray names are passed over with all below them.

    Args:
        folder: to walk through.
        passed_over: is filled with the stray files and folders, and links to nothing.

    Raises:
        OSError: of a folder that is there and cannot be read.
    """
    for place, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        stray = [name for name in (*folders, *names) if is_stray(name)]
        stray += [n for n in folders if n not in stray and is_endless(os.path.join(place, n))]
        if passed_over is not None:
            passed_over += [Path(place, name) for name in sorted(stray)]
        folders[:] = sorted(set(folders).difference(stray))
        for name in sorted(set(names).difference(stray)):
            path = Path(place, name)
            if path.is_file():
                yield path
            elif passed_over is not None and is_broken_link(path):
                passed_over.append(path)


def _refuse(error: OSError) -> None:
    """A folder that is there and cannot be read would leave its files out in silence."""
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error


def folders_in(folder: str | Path) -> list[Path]:
    """The sub-folders that may be data, links to folders among them, sorted by name."""
    return sorted(
        path for path in Path(folder).iterdir() if not is_stray(path.name) and path.is_dir()
    )


def spread(items: Sequence[_Item], number: int) -> list[_Item]:
    """All of them, in an order whose first ``number`` are spread over the whole list."""
    step = max(1, -(-len(items) // number))
    return [item for start in range(step) for item in items[start::step]]


def endings_of(names: Iterable[str]) -> str:
    """How many files there are of each ending, the most frequent first: ``8 .png, 2 .txt``."""
    counts = Counter(os.path.splitext(name)[1] or 'without an ending' for name in names)
    return ', '.join(f'{number} {ending}' for ending, number in counts.most_common(5))


@contextmanager
def opened_quietly(file: str | Path | IO[bytes]) -> Iterator[Image]:
    """A file as pillow opens it, without its warnings: of a bad file there is more to say."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        with Image.open(file) as image:
            yield image


def misread(content: bytes, in_bytes: bool = True) -> str:
    """Why decoders would make other pixels of a file without a word; empty if they would not.

    Args:
        content: of the file.
        in_bytes: whether the pixels are to be of 8 bits, whatever they are in the file.
    """
    if ends_early(content):
        return 'the JPEG ends too early'
    if in_bytes and any(entry in content for entry in _LOGLUV.get(content[:4], ())):
        # they are brightened as for a screen, and all above 1 are white
        return 'a TIFF file of floats, which no decoder shows as they are: save it in 8 or 16 bits'
    return ''


def ends_early(content: bytes) -> bool:
    """Whether this is a JPEG without its end marker.

    The marker need not be the last thing: cameras append to it. Inside of compressed pixels it
    cannot stand by chance, and one before them is a thumbnail's. A file of any other format passes.
    """
    if not content.startswith(_START) or content.endswith(_END):
        return False
    return content.rfind(_END, _start_of_scan(content)) < 0


def _start_of_scan(content: bytes) -> int:
    """Where the pixels begin: behind the segments, each of which says how long it is."""
    at = len(_START)
    while content[at : at + 1] == b'\xff' and at + 4 <= len(content):
        if content[at + 1] == _SCAN:
            return at
        at += 2 + int.from_bytes(content[at + 2 : at + 4], 'big')
    return at
