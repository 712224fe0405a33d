"""A file that cannot be read as an image, or as a mask, is named, in one line and one exception.

The readers of mmcv and mmseg raise whatever their decoder does: an assertion, an error of OpenCV,
"cannot identify image file <_io.BytesIO object>". Wrapped, they all raise :class:`DataError`. And a
JPEG that ends too early is not decoded, whose rest would be grey, nor a TIFF file of floats.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from g2sd_mm.compat.import_hooks import replace_function
from g2sd_mm.errors import DataError
from g2sd_mm.image_files import misread
from g2sd_mm.text import one_line

Reader = Callable[[Any, dict], Any]


def refuse_misread_images(image_io: ModuleType) -> None:
    """Of ``mmcv.image.io``: a file that is decoded to other pixels than it has is refused."""
    decode = image_io.imfrombytes

    @functools.wraps(decode)
    def imfrombytes(content: bytes, flag: str = 'color', *args: Any, **options: Any) -> Any:
        if reason := misread(content, in_bytes=flag != 'unchanged'):
            raise ValueError(reason)
        return decode(content, flag, *args, **options)

    replace_function(image_io, 'imfrombytes', imfrombytes)


def name_images(loading: ModuleType) -> None:
    """Of ``mmcv.transforms.loading``: an image that cannot be read is named."""
    reader = loading.LoadImageFromFile
    reader.transform = _naming('img_path', 'an image', reader.transform)


def name_masks(loading: ModuleType) -> None:
    """Of ``mmseg.datasets.transforms.loading``: a mask that cannot be read is named."""
    reader = loading.LoadAnnotations
    reader._load_seg_map = _naming('seg_map_path', 'a mask', reader._load_seg_map)


def _naming(key: str, kind: str, read: Reader) -> Reader:
    @functools.wraps(read)
    def read_or_name(self: Any, results: dict) -> Any:
        with naming(results[key], kind):
            return read(self, results)

    return read_or_name


@contextmanager
def naming(path: str, kind: str = 'an image') -> Iterator[None]:
    """Whatever goes wrong inside is a :class:`DataError` of this file.

    Args:
        path: of the file.
        kind: of what it cannot be read as.
    """
    if os.path.exists(path) and not os.path.isfile(path):  # reading a pipe might not end
        raise DataError(f'{path}: this is no file')
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f'{path}: no such file') from error
    except MemoryError:
        raise  # says something about the machine, not about the file
    except Exception as error:  # damaged data can make a decoder raise anything
        raise DataError(f'{path}: cannot be read as {kind} ({_reason(error)})') from error


def _reason(error: Exception) -> str:
    """One line without the address in memory that pillow tells of."""
    if isinstance(error, AssertionError):
        return 'no decoder knows it, or it is damaged'
    text = one_line(error)
    return 'no decoder knows it' if 'cannot identify image file' in text else text


# pillow refuses pictures of more than twice its ``MAX_IMAGE_PIXELS``, 179 million pixels; OpenCV
# allows six times as many. OpenCV reads its limit from the environment when it is loaded, and child
# processes inherit it there; pillow is given the same.
VARIABLE = 'OPENCV_IO_MAX_IMAGE_PIXELS'
DEFAULT = 178_956_970  # pillow's own


def limit_pixels() -> None:
    """Set the limit, unless the variable is set already. To be called before OpenCV is loaded."""
    os.environ.setdefault(VARIABLE, str(DEFAULT))


def too_large(height: int, width: int) -> bool:
    """Whether a picture is beyond the limit, for decoders that know none."""
    text = os.environ.get(VARIABLE, '')
    return height * width > (int(text) if text.isdecimal() else DEFAULT)


def limit_pillow(image: Any) -> None:
    """Of ``PIL.Image``: the same limit."""
    text = os.environ[VARIABLE]
    if text.isdecimal() and image.MAX_IMAGE_PIXELS:
        image.MAX_IMAGE_PIXELS = int(text) // 2
    # between half the limit and the limit pillow warns and reads on
    warnings.filterwarnings('ignore', category=image.DecompressionBombWarning)
