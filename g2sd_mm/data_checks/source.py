"""Where samples come from: the part that each layout plays, and what is there twice."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from ..data_layouts.copies import original
from ..image_files import is_broken_link
from .findings import Finding
from .images import Picture
from .masks import Mask, Reading


class Source:
    """One split of a data set.

    Attributes:
        split: its name. Splits whose pixels must not meet have different ones.
        place: folder or file that it is read from, for the report.
    """

    split: str
    place: str

    def images(self) -> Sequence[str]:
        """Paths of the images to look at."""
        raise NotImplementedError

    def masks(self) -> Sequence[tuple[str, Reading]]:
        """Paths of the masks, or depth maps, to look at, with how they are read."""
        return ()

    def structure(self) -> Iterable[Finding]:
        """What is wrong without opening an image."""
        raise NotImplementedError

    def compare(
        self, pictures: Mapping[str, Picture], masks: Mapping[str, Mask]
    ) -> Iterable[Finding]:
        """What is wrong with images and annotations together, once all have been looked at."""
        return ()

    def label(self, path: str) -> str | None:
        """The class of an image, where it has one."""
        return None


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
