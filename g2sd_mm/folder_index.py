"""The names of the images below a folder, kept in a file for as long as no folder has changed.

A folder's times change with every name that is added to it, removed or renamed, on the file systems
that are named here. So a list is as good as a new one if every folder that it was read from is the
one it was, with the times that it had. Both the time that a program can set and the one that it
cannot are compared. Where anything is in doubt, nothing is kept, nothing found, and folders are
read as ever:

- a folder that changed less than two seconds before it was read: clocks of file systems are coarse,
  and a later change might have the same time;
- links to files, which may lose their file without any change in their folder;
- file systems that keep no such times, or that others change without their knowing;
- a file that is not, bit by bit, what was written, or has any name that leads out of its folder.

Imports nothing heavy: the checker runs without torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import image_files
from .provenance import cache_key, file_digest
from .whole_files import user_cache, whole_or_not

#: Below so many names nothing is kept: they are listed in no time.
SMALLEST = 50_000
#: Nanoseconds for which a folder must have been as it is when it is read.
SETTLED = 2_000_000_000
_LARGEST = 1 << 30  # bytes of a file that is looked into
_FORMAT = 1  # of what is written: another one makes old files unknown
_MOUNTS = '/proc/self/mountinfo'
_BETWEEN = '//'  # names; there is no such thing within a path
#: File systems whose folders have exact times, and ask the server when they are opened.
_EXACT = frozenset(
    ('ext2', 'ext3', 'ext4', 'xfs', 'btrfs', 'zfs', 'f2fs', 'bcachefs', 'tmpfs', 'overlay', 'nfs',
     'nfs4', 'lustre', 'ceph')
)  # fmt: skip

#: Number, time of change of the names, and time of any change; in nanoseconds.
State = tuple[int, int, int]


@dataclass
class Listing:
    """What there is below a folder.

    Attributes:
        names: class folder -> names of the images in it, sorted, relative to it; under the empty
            text those of all, where there are no class folders.
        others: names of the files that are not read as images.
        strays: stray files and folders, relative to where the listing began.
    """

    names: dict[str, list[str]]
    others: list[str]
    strays: list[str]

    def __len__(self) -> int:
        return sum(map(len, self.names.values()))


class Walk:
    """Which folders a listing is read from, and how they are before that.

    Args:
        root: where the listing begins.

    Attributes:
        settled: whether all that was seen can be kept.
    """

    def __init__(self, root: str) -> None:
        self.root, self.settled, self.started = root, True, time.time_ns()
        self.folders: dict[str, State] = {}
        self._exact: set[int] = set()

    def enter(self, folder: str) -> None:
        """Tell of a folder that is about to be read."""
        state = _states([folder], self._exact)
        if state is None:
            self.settled = False
        else:
            self.folders[os.path.relpath(folder, self.root)] = state[0]

    def pass_link(self) -> None:
        """Tell of a link whose meaning may change while the folder that it is in does not."""
        self.settled = False

    def is_over(self) -> bool:
        """Whether the folders are now as they were, and have been for long enough before."""
        return self.settled and is_unchanged(self.root, self.folders, self.started)


def is_unchanged(root: str, folders: Mapping[str, State], read: int) -> bool:
    """Whether folders are as they were when they were read.

    Args:
        root: that their names are relative to.
        folders: name -> how it was.
        read: when that began, in nanoseconds.
    """
    if any(max(changed, touched) + SETTLED > read for _, changed, touched in folders.values()):
        return False
    now = _states((os.path.join(root, name) for name in folders), set())
    return now == list(folders.values())


def find(root: str, classes: Sequence[str], endings: Iterable[str]) -> tuple[Listing, Path] | None:
    """What was kept of a folder, if it is as good as a new listing, and the file that it is in.

    Args:
        root: of the images.
        classes: names of the class folders that there are; one empty text stands for all of root.
        endings: of what is read as an image.
    """
    about = _about(root, classes, endings)
    file = _place(about)
    try:
        if not file.is_file() or file.stat().st_size > _LARGEST:
            return None
        digest, _, text = file.read_bytes().partition(b'\n')
        if digest != _digest(text):
            return None
        listing, folders, read = _parsed(json.loads(text), about, classes)
    except (OSError, ValueError, TypeError, KeyError, RecursionError, MemoryError):
        return None  # it is written anew
    return (listing, file) if is_unchanged(root, folders, read) else None


def keep(listing: Listing, walk: Walk, endings: Iterable[str]) -> Path | None:
    """Write a listing to the user's cache, if it is large and can be relied on later.

    Args:
        listing: what was found.
        walk: that found it.
        endings: of what is read as an image.

    Returns:
        the file; None if nothing was written.
    """
    if len(listing) < SMALLEST or not walk.is_over():
        return None
    about = _about(walk.root, list(listing.names), endings)
    content = {
        'about': about,
        'read': walk.started,
        'folders': [[name, *state] for name, state in walk.folders.items()],
        'classes': list(listing.names),
        'names': [_BETWEEN.join(names) for names in listing.names.values()],
        'others': _BETWEEN.join(listing.others),
        'strays': _BETWEEN.join(listing.strays),
    }
    text = json.dumps(content).encode()
    file = _place(about)
    with suppress(OSError):  # no room, or not ours: it is read again the next time
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_or_not(file) as temporary:
            temporary.write_bytes(_digest(text) + b'\n' + text)
        return file
    return None


# The file ---------------------------------------------------------------------------------------


def _about(root: str, classes: Sequence[str], endings: Iterable[str]) -> dict[str, Any]:
    """What decides a listing, but for the folders themselves."""
    return {
        'format': _FORMAT,
        'root': os.path.realpath(root),
        'in_classes': list(classes) != [''],
        'endings': sorted({ending.lower() for ending in endings}),
        'rules': file_digest(image_files.__file__),  # what is hidden, and what an image
    }


def _place(about: Mapping[str, Any]) -> Path:
    return user_cache() / 'folders' / f'{cache_key(about)}.json'


def _digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=16).hexdigest().encode()


def _parsed(
    content: Any, about: Mapping[str, Any], classes: Sequence[str]
) -> tuple[Listing, dict[str, State], int]:
    """Raises ValueError, TypeError or KeyError if it is anything but what :func:`keep` writes."""
    if content['about'] != about or content['classes'] != list(classes):
        raise ValueError
    folders, read = {}, content['read']
    for name, *state in content['folders']:
        if type(name) is not str or [type(value) for value in state] != [int] * 3:
            raise TypeError
        folders[name] = (state[0], state[1], state[2])
    names = map(_names_in, content['names'])
    listing = Listing(
        dict(zip(classes, names, strict=True)),
        _names_in(content['others']),
        _names_in(content['strays']),
    )
    if type(read) is not int or not folders.keys() >= {name or '.' for name in classes}:
        raise ValueError
    return listing, folders, read


def _names_in(text: Any) -> list[str]:
    """Names that were written as one text; ValueError if one of them leads elsewhere."""
    if type(text) is not str:
        raise TypeError
    whole = f'{_BETWEEN}{text}{_BETWEEN}' if text else ''
    if '\0' in whole or '///' in whole or '/../' in whole or '/./' in whole:
        raise ValueError
    return text.split(_BETWEEN) if text else []


# Folders and file systems -----------------------------------------------------------------------


def _states(folders: Iterable[str], exact: set[int]) -> list[State] | None:
    """How folders are now; None if one cannot be read, or might change without telling.

    They are opened, since a server is asked then, and not always when one looks at a name.

    Args:
        folders: to look at.
        exact: devices whose file system is known to be one of those; is filled.
    """
    found = []
    try:
        for folder in folders:
            number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                facts = os.fstat(number)
            finally:
                os.close(number)
            if facts.st_dev not in exact:
                if _file_system(folder) not in _EXACT:
                    return None
                exact.add(facts.st_dev)
            found.append((facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns))
    except (OSError, ValueError, AttributeError):  # the last: a system without these flags
        return None
    return found


def _file_system(folder: str) -> str | None:
    """Type of the file system that a folder is on; None where nothing is known, as on a Mac."""
    path = os.path.join(os.path.realpath(folder), '')
    best, kind = '', None
    with open(_MOUNTS, encoding='utf-8', errors='surrogateescape') as file:
        for line in file:
            before, _, after = line.partition(' - ')
            point = re.sub(r'\\([0-7]{3})', lambda m: chr(int(m[1], 8)), before.split(' ')[4])
            point = os.path.join(point, '')
            if path.startswith(point) and len(point) >= len(best):
                best, kind = point, after.split(' ')[0]
    return kind
