"""Depth maps beside images: how their numbers are read, and what can be wrong with a file."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..image_files import ENDINGS, files_below
from .findings import Finding
from .image_masks import ImageMasks
from .images import Picture
from .masks import Mask

ARRAY, PICTURE = '.npy', '.png'
#: A map of which all depth is nearer than this part of ``max_depth`` is taken for one in another
#: unit; metres that are read as millimetres are a thousandth.
_TOO_NEAR = 500
_FILL = np.iinfo(np.uint16).max  # of 16-bit files; "not known" where all else is much nearer
_STEP = 1000  # between the units that are mistaken for each other


class DepthError(ValueError):
    """What is wrong with a depth map: ``kind`` is a key of ``KINDS``, the text says more."""

    def __init__(self, kind: str, detail: str = '', size: tuple[int, int] | None = None) -> None:
        super().__init__(detail)
        self.kind, self.size = kind, size


@dataclass(frozen=True)
class DepthReading:
    """How the numbers of a depth map are read.

    scale: metres that a number 1 stands for: 0.001 for millimetres.
    min_depth, max_depth: metres; what lies outside is not known.
    invalid: numbers of the file that stand for pixels whose depth is not known.
    """

    scale: float = 1.0
    min_depth: float = 0.0
    max_depth: float = math.inf
    invalid: tuple[float, ...] = (0,)

    def metres(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers [height, width] of a file as float32 metres, 0 where depth is not known.

        Raises:
            DepthError: if the file holds no depth, see :data:`~g2sd_mm.data_checks.findings.KINDS`.
        """
        size = (numbers.shape[1], numbers.shape[0])
        known = ~_is_any(numbers, self.invalid) & (numbers != 0)
        strange = known & ~(np.isfinite(numbers) & (numbers > 0))
        if strange.any():
            number, first = int(strange.sum()), numbers[strange][0]
            raise DepthError('depth-not-finite', f'{number} pixels, the first {first:g}', size)
        if not known.any():
            raise DepthError('no-depth', f'all {numbers.size} pixels are {_listed(self)}', size)
        # rounded before the ends are looked at, which may be those of rounded metres
        metres = np.where(known, numbers * np.float64(self.scale), 0).astype(np.float32)
        near, far = float(metres[known].min()), float(metres[known].max())
        end = float(np.float32(self.max_depth))
        if numbers.dtype.kind != 'f' and far <= end and numbers[known].max() == _FILL:
            rest = int(numbers[known & (numbers != _FILL)].max(initial=0))
            if rest <= _FILL // 2:
                raise DepthError('depth-fill', f'{_FILL}, and no other above {rest}', size)
        if near > end or far * _TOO_NEAR < end < math.inf:
            factor = 1 / _STEP if near > end else _STEP
            hint = f'scale={self.scale * factor:g} would make it {near * factor:g} to '
            detail = (
                f'{near:g} to {far:g} m by scale={self.scale:g}, and max_depth is '
                f'{self.max_depth:g} m; {hint}{far * factor:g} m'
            )
            raise DepthError('depth-scale', detail, size)
        inside = known & (metres >= self.min_depth) & (metres <= self.max_depth)
        if not inside.any():
            span = f'{self.min_depth:g} to {self.max_depth:g} m'
            raise DepthError('no-depth', f'it has {near:g} to {far:g} m, none in {span}', size)
        return np.where(inside, metres, np.float32(0))

    def look(self, path: str) -> Mask:
        """Decode a depth map and tell what is wrong with it; never raises for a bad file."""
        try:
            if not Path(path).is_file():
                raise DepthError('missing-depth')
            if Path(path).stat().st_size == 0:
                raise DepthError('empty-file')
            metres = self.metres(depth_numbers(Path(path).read_bytes(), path))
        except DepthError as error:
            return Mask(path, error.size, (Finding(error.kind, path, str(error)),))
        except OSError as error:
            return Mask(path, None, (Finding('unreadable', path, str(error.strerror)),))
        return Mask(path, (metres.shape[1], metres.shape[0]))


def loading_step(pipeline: Iterable[Mapping[str, Any]] | None) -> Mapping[str, Any] | None:
    """The step of a pipeline's config that reads depth maps; None without one."""
    return next(filter(loads_depth, pipeline or ()), None)


def loads_depth(step: Mapping[str, Any]) -> bool:
    """Whether a step's config is a ``LoadDepthAnnotations``."""
    return str(step['type']).rpartition('.')[2] == 'LoadDepthAnnotations'


def _listed(reading: DepthReading) -> str:
    return ' or '.join(f'{number:g}' for number in dict.fromkeys((*reading.invalid, 0)))


def _is_any(numbers: np.ndarray, wanted: Sequence[float]) -> np.ndarray:
    """Where one of some numbers stands; NaN too, and those that the array's type rounds."""
    if numbers.dtype.kind != 'f':
        return np.isin(numbers, wanted)
    with np.errstate(over='ignore'):
        rounded = np.asarray(wanted, numbers.dtype)
    rounded = rounded[np.isinf(rounded) == np.isinf(wanted)]  # what is too large for it is no inf
    found = np.isin(numbers, rounded)
    return found | np.isnan(numbers) if np.isnan(wanted).any() else found


def depth_numbers(content: bytes, path: str) -> np.ndarray:
    """The numbers [height, width] of a depth map's file, as they stand there.

    Args:
        content: of the file.
        path: its name; the ending ``.npy`` says that it is an array.

    Raises:
        DepthError: if it cannot be read, has colours, or only 8 bits.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            if path.lower().endswith(ARRAY):
                numbers = np.load(BytesIO(content), allow_pickle=False)
            else:
                with Image.open(BytesIO(content)) as image:
                    numbers = np.asarray(image)
    except Image.DecompressionBombError as error:
        raise DepthError('too-large', str(error).partition(',')[0]) from error
    except Exception as error:  # damaged data can make a parser raise anything
        kind = 'truncated' if 'truncated' in str(error) else 'unreadable'
        raise DepthError(kind) from error
    if not isinstance(numbers, np.ndarray) or numbers.dtype.kind not in 'fiub':
        raise DepthError('depth-format', 'no array of numbers')
    if numbers.ndim != 2:
        shape = 'x'.join(map(str, numbers.shape))
        raise DepthError('depth-format', f'{shape} numbers: a picture, or several maps')
    if numbers.dtype.itemsize == 1:
        size = (numbers.shape[1], numbers.shape[0])
        raise DepthError('depth-format', '8 bits: 256 steps from near to far', size)
    return numbers


class ImageDepths(ImageMasks):
    """``images/**/a.jpg`` with ``depth/**/a.png``, or ``.npy``.

    Args:
        images, depths: folders.
        split: name of the split.
        reading: how the numbers are read; by itself, with any scale and range.
        endings: of the images that are read, whatever their case.
        depth_ending: of the maps; None for the one that the folder has.
        pairs: image -> map, of a data set that lists them.

    Raises:
        DataError: if one of the folders is missing, or there are no images.
    """

    _stray_kind, _called = 'stray-depth', 'depth map'

    def __init__(
        self,
        images: str | Path,
        depths: str | Path,
        split: str,
        reading: DepthReading | None = None,
        endings: Sequence[str] = ENDINGS,
        depth_ending: str | None = None,
        pairs: Mapping[str, str] | None = None,
    ) -> None:
        ending = depth_ending or _ending_in(depths)
        super().__init__(
            images, depths, split, endings=endings, mask_ending=ending, pairs=pairs
        )
        self._reading = reading or DepthReading()

    def masks(self) -> Sequence[tuple[str, DepthReading]]:
        """Each image's map."""
        return [(path, self._reading) for path in self._pairs.values()]

    def compare(
        self, pictures: Mapping[str, Picture], masks: Mapping[str, Mask]
    ) -> Iterable[Finding]:
        """Sizes of images and maps."""
        return self._compare_sizes(pictures, masks)


def _ending_in(folder: str | Path) -> str:
    """Of the maps in a folder, as it is written: ``.npy`` if there are arrays and no pictures."""
    endings = {p.suffix for p in files_below(folder) if p.suffix.lower() in (PICTURE, ARRAY)}
    return max(endings, key=lambda ending: (ending.lower() == PICTURE, ending), default=PICTURE)
