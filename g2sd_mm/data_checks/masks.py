"""Look at one mask file as mmseg would read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from ..image_files import opened_quietly
from .contents import Contents, numbered
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

    def look(self, path: str) -> Mask:
        """Decode a mask and tell what is wrong with it; never raises for a bad file."""

        def bad(kind: str, detail: str = '', size: tuple[int, int] | None = None) -> Mask:
            return Mask(path, size, (Finding(kind, path, detail),))

        if not Path(path).is_file():
            return bad('missing-mask')
        if Path(path).stat().st_size == 0:
            return bad('empty-file')
        try:
            with opened_quietly(path) as image:
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
        strange = self.strange(found)
        if strange:
            classes = 'labels are 8 bits' if self.classes is None else f'{self.classes} classes'
            return bad('label-range', f'labels {strange[:5]}, {classes}', size)
        if self.nothing(found):
            return replace(bad('unlabelled-mask', '', size), labels=tuple(found))
        return Mask(path, size, labels=tuple(found))

    def nothing(self, found: list[int]) -> bool:
        """Whether no pixel has a class."""
        return all(self._counts_not(label) for label in found)

    def classes_in(self, found: Iterable[int]) -> tuple[int, ...]:
        """Numbers of the classes that labels of a file stand for, ignored ones left out."""
        first = int(self.zero_is_ignored)
        return tuple(i - first for i in found if i >= first and not self._counts_not(i))

    def _counts_not(self, label: int) -> bool:
        return label == self.ignored or (self.zero_is_ignored and label == 0)


@dataclass(frozen=True)
class Mask:
    """What became of one mask file.

    size: (width, height) in pixels; None if it cannot be read.
    labels: numbers that occur in the file; none where they are of no use.
    """

    path: str
    size: tuple[int, int] | None = None
    findings: tuple[Finding, ...] = ()
    labels: tuple[int, ...] = ()


class Reading(Protocol):
    """How the numbers of a file beside an image are read: labels, or depth."""

    def look(self, path: str) -> Mask:
        """Decode the file and tell what is wrong with it; never raises for a bad file."""


def count_masks(
    place: str,
    labels: Labels,
    names: Sequence[str] | None,
    found: Sequence[Sequence[int]],
    total: int | None = None,
) -> Contents:
    """What masks hold together.

    Args:
        place: their folder.
        labels: how their numbers are read.
        names: of the classes, or None.
        found: the numbers in each mask that was looked at.
        total: masks that there are; None if all of them were looked at.
    """
    counts = Counter(i for numbers in found for i in labels.classes_in(numbers))
    if labels.classes is not None:
        classes = numbered(names, labels.classes)
    else:  # those that occur are all that is known
        classes = tuple(f'class {i}' for i in sorted(counts))
        counts = Counter(dict(enumerate(counts[i] for i in sorted(counts))))
    ignored = sum(labels.ignored in numbers for numbers in found)
    hint = (
        f'; {ignored} of them have {labels.ignored}, which is ignored: write the number of its '
        'class instead'
        if ignored
        else ''
    )
    return Contents(
        place=place,
        thing='masks',
        classes=classes,
        counts=counts,
        total=len(found) if total is None else total,
        left_out={'of ignored pixels alone': sum(map(labels.nothing, map(list, found)))},
        looked_at=None if total in (None, len(found)) else len(found),
        hint=hint,
        open_ended=labels.classes is None,
    )


def labels_in(content: bytes) -> tuple[int, ...]:
    """Numbers that occur in an encoded mask; none if it cannot be read."""
    try:
        with opened_quietly(BytesIO(content)) as image:
            if image.mode in ('L', 'P'):
                return tuple(i for i, times in enumerate(image.histogram()) if times)
            numbers = np.asarray(image)
    except Exception:  # damaged data can make a parser raise anything; training names the file
        return ()
    return tuple(int(i) for i in np.unique(numbers)) if numbers.ndim == 2 else ()
