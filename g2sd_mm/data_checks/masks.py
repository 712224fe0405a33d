"""Look at one mask file as mmseg would read it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .findings import Finding

IGNORED = 255


@dataclass(frozen=True)
class Labels:
    """How a mask's numbers are read.

    classes: how many there are; None if nobody says, then nothing is out of range below 255.
    ignored: label of pixels that do not count.
    zero_is_ignored: 0 stands for no label and 1 for the first class (``reduce_zero_label``).
    """

    classes: int | None = None
    ignored: int = IGNORED
    zero_is_ignored: bool = False

    def strange(self, found: list[int]) -> list[int]:
        """Labels as they stand in files that are no class."""
        first = int(self.zero_is_ignored)
        last = IGNORED - 1 if self.classes is None else self.classes - 1 + first
        return [i for i in found if not (first <= i <= last) and not self._counts_not(i)]

    def nothing(self, found: list[int]) -> bool:
        """Whether no pixel has a class."""
        return all(self._counts_not(label) for label in found)

    def _counts_not(self, label: int) -> bool:
        return label == self.ignored or (self.zero_is_ignored and label == 0)


@dataclass(frozen=True)
class Mask:
    """What became of one mask file.

    size: (width, height) in pixels; None if it cannot be read.
    """

    path: str
    size: tuple[int, int] | None = None
    findings: tuple[Finding, ...] = ()


def look_at_mask(path: str, labels: Labels) -> Mask:
    """Decode a mask and tell what is wrong with it; never raises for a bad file."""

    def bad(kind: str, detail: str = '', size: tuple[int, int] | None = None) -> Mask:
        return Mask(path, size, (Finding(kind, path, detail),))

    if not Path(path).is_file():
        return bad('missing-mask')
    if Path(path).stat().st_size == 0:
        return bad('empty-file')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            with Image.open(path) as image:
                numbers = np.asarray(image)
    except Image.DecompressionBombError as error:
        return bad('too-large', str(error).partition(',')[0])
    except OSError as error:
        return bad('truncated' if 'truncated' in str(error) else 'unreadable')
    except Exception:  # damaged data can make a parser raise anything
        return bad('unreadable')
    size = (numbers.shape[1], numbers.shape[0])
    if numbers.ndim != 2:
        return bad('coloured-mask', f'{numbers.shape[2]} channels', size)
    if numbers.dtype.kind == 'f':
        return bad('label-range', 'numbers with a point', size)
    found = [int(label) for label in np.unique(numbers)]
    strange = labels.strange(found)
    if strange:
        classes = 'labels are 8 bits' if labels.classes is None else f'{labels.classes} classes'
        return bad('label-range', f'labels {strange[:5]}, {classes}', size)
    if labels.nothing(found):
        return bad('unlabelled-mask', '', size)
    return Mask(path, size)
