"""What is known of a folder of data, and which folder is which split."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from pathlib import Path, PurePath

from ..errors import DataError
from ..image_files import files_below, is_image


@dataclass(frozen=True)
class Split:
    """A part of a data set.

    Attributes:
        name: of its folder, or ``train``, ``val``, ``test``.
        images: folder of its images.
        labels: annotation file, or folder of masks or depth maps; None where class folders are the
            labels, or there are none.
        labelled: whether there are labels.
    """

    name: str
    images: Path
    labels: Path | None = None
    labelled: bool = True


@dataclass(frozen=True)
class Layout:
    """A folder of data, as it is read.

    Attributes:
        origin: the folder that was looked at.
        root: folder that it lies in; of masks and class folders that were converted, the copy.
        task: cls, det, seg or depth.
        splits: its parts.
        classes: names by number where files beside the data tell them; of class folders and COCO
            files those say it themselves.
        copy: folder of what was converted; None where nothing was.
        notes: what was found and decided, a line each.
    """

    origin: Path
    root: Path
    task: str
    splits: tuple[Split, ...]
    classes: tuple[str, ...] = ()
    copy: Path | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def whole(self) -> Split | None:
        """What is labelled, if it is in one part: that of data without splits, or another one."""
        labelled = [split for split in self.splits if split.labelled]
        return labelled[0] if len(labelled) == 1 else None

    def split(self, begins: str) -> Split | None:
        """The labelled split whose name begins so, as ``train2017`` does; None without one.

        Data without splits are called like their folder, which says nothing (``valley``).

        Raises:
            DataError: if there are several.
        """
        if self.whole and self.whole.name == self.origin.name:
            return None
        found = [s for s in self.splits if s.name.startswith(begins) and s.labelled]
        if len(found) > 1:
            names = ' and '.join(split.images.name for split in found)
            raise DataError(
                f'{names} in {found[0].images.parent} can both be {begins}: leave one, for '
                'example by links to what is wanted in a folder of its own'
            )
        return found[0] if found else None

    @property
    def training(self) -> Split | None:
        """The images to train on: those of its split, or of data without splits all."""
        others = self.split('val') or self.split('test')
        return self.split('train') or (None if others else self.whole)


#: Split -> how people call its folder or file, without a year.
_CALLED = {
    'train': ('train', 'training', 'trainset', 'train_set'),
    'val': ('val', 'valid', 'validation', 'dev', 'valset', 'val_set'),
    'test': ('test', 'testing', 'testset', 'test_set'),
}
_WORDS = {word: split for split, words in _CALLED.items() for word in words}


def split_named(name: str) -> str:
    """``train``, ``val`` or ``test`` for a folder that is called so, else nothing."""
    return _WORDS.get(re.sub(r'[-_ ]?(19|20)\d\d$', '', name.lower()), '')


def split_of(path: PurePath) -> str:
    """The split that a part of a path names, the last one first: of files the words of a name."""
    for part in reversed(path.parts):
        if found := split_named(part):
            return found
    words = re.split(r'[^a-z]+', path.stem.lower())
    return next((_WORDS[word] for word in words if word in _WORDS), '')


class Listing:
    """The files of a folder, walked through once; stray names are left out.

    Args:
        root: the folder.
        images: those that are looked among, relative to the root; None for all.
    """

    def __init__(self, root: Path, images: Iterable[PurePath] | None = None) -> None:
        self.root, self._only = root, images

    @cached_property
    def files(self) -> tuple[PurePath, ...]:
        """All of them, relative to the root, sorted folder by folder."""
        return tuple(PurePath(path.relative_to(self.root)) for path in files_below(self.root))

    @cached_property
    def images(self) -> tuple[PurePath, ...]:
        """Those that are read as images."""
        if self._only is not None:
            return tuple(self._only)
        return tuple(path for path in self.files if is_image(path.name))

    def ending(self, *endings: str) -> list[PurePath]:
        """Those of some endings, whatever their case."""
        return [path for path in self.files if path.name.lower().endswith(endings)]

    @cached_property
    def by_name(self) -> dict[str, list[PurePath]]:
        """Images by file name."""
        return _grouped((path.name, path) for path in self.images)

    @cached_property
    def by_stem(self) -> dict[str, list[PurePath]]:
        """Images by file name without its ending."""
        return _grouped((path.stem, path) for path in self.images)

    def find(self, name: str) -> PurePath | None:
        """The one image that a list means: by its path, else as :meth:`alike`.

        Raises:
            DataError: if it can be several.
        """
        found = self.alike(name)
        if len(found) > 1:
            raise DataError(
                f'{self.root}: {name} can be {found[0]} or {found[1]}: write the path from '
                'the folder in the list'
            )
        return found[0] if found else None

    def alike(self, name: str) -> list[PurePath]:
        """Images that a list can mean by a path or a name, with ending or without.

        A path may begin above the folder, within it, or be one of another machine. Folders that
        the data have count: a namesake elsewhere does not replace a file that is missing.
        """
        path = PurePath(name.replace('\\', '/'))
        if path in self._known:
            return [path]
        same = self.by_name.get(path.name) or self.by_stem.get(path.name) or []
        levels = {image: n for image in same if (n := self._agreement(image, path)) is not None}
        return [image for image, n in levels.items() if n == max(levels.values())]

    def _agreement(self, image: PurePath, listed: PurePath) -> int | None:
        """How many folders above the file agree; None if others say that it is another file."""
        own, said = image.parts[:-1], listed.parts[:-1]
        pairs = zip(reversed(own), reversed(said), strict=False)
        number = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        rest = said[: len(said) - number]
        if not rest or (number == len(own) and rest[-1] == self.root.absolute().name):
            return number
        others = [folder for folder in rest if folder not in own]
        if rest[-1] in self._folders or self._folders.intersection(others):
            return None
        splits, own_splits = ({*map(split_named, parts)} - {''} for parts in (others, own))
        return None if splits and own_splits and not splits & own_splits else number

    def unlabelled_test(self, listed: Container[PurePath] = ()) -> list[Split]:
        """A folder of test images, some of which are in no list."""
        rest = {image.parent for image in self.images if image not in listed}
        tests = sorted(folder for folder in rest if split_of(folder / 'x') == 'test')
        return [Split('test', self.root / tests[0], labelled=False)] if tests else []

    @cached_property
    def _known(self) -> frozenset[PurePath]:
        return frozenset(self.images)

    @cached_property
    def _folders(self) -> frozenset[str]:
        """Names of folders above images."""
        return frozenset(part for i in self._known for part in i.parts[:-1])


def _grouped(pairs: Iterable[tuple[str, PurePath]]) -> dict[str, list[PurePath]]:
    groups: dict[str, list[PurePath]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups
