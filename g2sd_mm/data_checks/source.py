"""Where samples come from: the part that each layout plays, what is cropped, what is twice."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from ..data_layouts.copies import original
from ..image_files import is_broken_link
from .findings import Finding
from .images import Picture
from .masks import Mask, Reading


class Source(Protocol):
    """One split of a data set.

    Attributes:
        split: its name. Splits whose pixels must not meet have different ones.
        place: folder or file that it is read from, for the report.
    """

    split: str
    place: str

    def images(self) -> Sequence[str]:
        """Paths of the images to look at."""

    def masks(self) -> Sequence[tuple[str, Reading]]:
        """Paths of the masks, or depth maps, to look at, with how they are read."""

    def structure(self) -> Iterable[Finding]:
        """What is wrong without opening an image."""

    def compare(
        self, pictures: Mapping[str, Picture], masks: Mapping[str, Mask]
    ) -> Iterable[Finding]:
        """What is wrong with images and annotations together, once all have been looked at."""

    def label(self, path: str) -> str | None:
        """The class of an image, where images have one."""


TRAINING = 'train'


def say_passed_over(place: str | Path, paths: Sequence[Path]) -> Iterator[Finding]:
    """Stray files in one line; each link whose file is gone, for training would go without it."""
    strays = [path for path in paths if not is_broken_link(path)]
    for path in paths:
        if is_broken_link(path):
            yield Finding('broken-link', str(path), f'leads to {os.readlink(path)}')
    if strays:
        yield Finding('passed-over', str(place), f'{len(strays)}, the first {strays[0]}')


def find_duplicates(
    sources: Sequence[Source], pictures: Mapping[str, Picture]
) -> Iterator[Finding]:
    """Compare the digests of all pictures.

    Two splits share pixels: ``leakage``, told of the one that is not training's. One split has them
    in several classes: ``conflicting-labels``. In one, or none: ``duplicate``.
    """
    same: dict[str, dict[str, dict[str, str | None]]] = defaultdict(lambda: defaultdict(dict))
    for source in sources:
        for path in source.images():
            if pictures[path].digest:
                same[pictures[path].digest][source.split][path] = source.label(path)
    for splits in same.values():
        # training first
        names = sorted(splits, key=lambda name: (not name.startswith(TRAINING), name))
        first = next(iter(splits[names[0]]))
        for path in chain.from_iterable(splits[name] for name in names[1:]):
            if path not in splits[names[0]]:
                yield Finding('leakage', path, f'is {original(first)} ({names[0]})')
        for labels in splits.values():
            yield from _within(labels)


def _within(labels: Mapping[str, str | None]) -> Iterator[Finding]:
    first, *others = labels
    for path in others:
        kind = 'duplicate' if labels[path] == labels[first] else 'conflicting-labels'
        yield Finding(kind, path, f'is {original(first)}')


#: Cuts that leave a smaller image as small as it is, and what makes each pad it.
_CROPS = {'RandomCrop': 'pad_if_needed', 'CenterCrop': 'auto_pad'}
#: Steps that look at an image, or turn it, and leave its size.
_KEEP_SIZE = ('Load', 'RandomFlip', 'Check', 'ColorJitter', 'PhotoMetric', 'Normalize')


@dataclass(frozen=True)
class Crop:
    """The size of a crop, in pixels."""

    height: int
    width: int


def crop_of_whole_image(pipeline: Sequence[Mapping[str, Any]]) -> Crop | None:
    """The crop that a pipeline takes from an image as it is in the file.

    None if it resizes or pads before, or pads what is too small.
    """
    for step in pipeline:
        name = str(step.get('type', '')).rpartition('.')[2]
        if name in _CROPS:
            size = step.get('crop_size')
            if step.get(_CROPS[name]) or step.get('padding') or step.get('crop_type'):
                return None
            height, width = (size, size) if isinstance(size, int) else tuple(size or (0, 0))
            return Crop(int(height), int(width))
        if not name.startswith(_KEEP_SIZE):
            return None
    return None


def too_small(crop: Crop | None, pictures: Iterable[Picture]) -> Iterator[Finding]:
    """Images that are smaller than the crop in one direction."""
    for picture in pictures:
        if crop is None or picture.size is None:
            continue
        width, height = picture.size
        if height < crop.height or width < crop.width:
            detail = f'{width}x{height} px, the crop is {crop.width}x{crop.height}'
            yield Finding('smaller-than-crop', picture.path, detail)
