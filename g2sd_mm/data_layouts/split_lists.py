"""Text files that say which image belongs to which split, as in VOC's ``ImageSets``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path, PurePath

from ..errors import DataError
from ..image_files import is_image
from .layout import Listing, split_named


def listed_splits(
    listing: Listing, kind: str, images: Collection[PurePath], labelled: Collection[PurePath]
) -> dict[PurePath, str]:
    """Labelled image -> split, as lists say it; empty without any list of these images.

    Args:
        listing: of the folder.
        kind: of the lists, the folder below ``ImageSets``; lists in the root serve all.
        images, labelled: those that a list may name, and those of them that count.

    Raises:
        DataError: naming list and image, if it is nowhere, can be several, or is in two splits.
    """
    for folder in (f'ImageSets/{kind}', ''):
        found: dict[PurePath, tuple[str, Path]] = {}
        lost: list[str] = []
        for path, split, base in _lists(listing, folder):
            below = [image for image in images if image.is_relative_to(base)]
            among, file = Listing(listing.root, below or images), listing.root / path
            for names in _lines(file):
                same = next(filter(None, map(among.alike, names)), [])
                meant = [image for image in same if image in labelled]
                if len(meant) > 1:
                    raise DataError(
                        f'{file}: {names[0]} can be {meant[0]} or {meant[1]}: write the path '
                        'from the folder in the list'
                    )
                if not same:
                    lost.append(f'{file}: {names[0]}')
                for image in meant:
                    said, first = found.setdefault(image, (split, file))
                    if said != split:
                        raise DataError(
                            f'{file}: {names[0]} is in {first} too: leave it in one of the two'
                        )
        if found and lost:
            raise DataError(
                f'{lost[0]} is nowhere in {listing.root}: add the image, or take the line away'
            )
        if found:
            return {image: split for image, (split, _) in found.items()}
    return {}


def _lists(listing: Listing, folder: str) -> Iterator[tuple[PurePath, str, PurePath]]:
    """Lists in a folder, their splits, and where their images lie: beside ``ImageSets``."""
    end = PurePath(folder).parts
    for path in listing.ending('.txt'):
        above = path.parent.parts
        base, split = above[: len(above) - len(end)], split_named(path.stem)
        if split and above == (*base, *end) and (end or not base):
            yield path, split, PurePath(*base)


def _lines(file: Path) -> Iterator[list[str]]:
    """What each line can name, what is most likely first; other endings count for nothing."""
    text = file.read_text(encoding='utf-8-sig', errors='replace')
    for line in filter(None, map(str.strip, text.splitlines())):
        names = [line[1:].partition('"')[0]] if line[0] == '"' else _names(line)
        bare = [name.rpartition('.')[0] for name in names if is_image(name) or name[-4:] == '.xml']
        yield [*names, *bare]


def _names(line: str) -> list[str]:
    """The line, as names may have blanks; its first word, where labels or a mask may follow."""
    first, *rest = line.split()
    if is_image(first) and any('/' in word for word in rest):
        return [first]
    follows = all('/' in word or re.fullmatch(r'-?\d+(\.\d+)?', word) for word in rest)
    return [line, first] if rest and (is_image(first) or follows) else [line]
