"""Copies of data in the form that is read: made once, beside the data, and found again.

A copy has links to the images and only what had to be written anew: annotation files, masks. Its
folder is called by what it is made from, so data that change, and other choices, get another one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import DataError, UserError
from ..whole_files import user_cache

#: Folder beside the data; hidden, so that no reader takes it for data.
FOLDER = '.g2sd'
_NOTE = 'copy.json'
_VERSION = 5  # of what is written: another one makes old copies unknown


def digest_of(root: Path, files: Iterable[os.PathLike[str]], *more: Any) -> str:
    """Digest of files by name, size and time of change, and of plain values that decide a copy.

    Files are relative to the root, or absolute.
    """
    digest = hashlib.sha256(json.dumps([_VERSION, *more], sort_keys=True).encode())
    for file in files:
        path = os.path.join(root, file)
        facts = os.stat(path)
        name = os.path.relpath(path, root)
        digest.update(os.fsencode(f'{name} {facts.st_size} {facts.st_mtime_ns}\n'))
    return digest.hexdigest()[:12]


def copy_of(
    root: Path, name: str, build: Callable[[Path], dict[str, Any]]
) -> tuple[Path, dict[str, Any], bool]:
    """A copy that is there, or is built now: its folder, facts, and whether it was built now.

    Args:
        root: of the data.
        name: of the copy, with the digest of what it is made from.
        build: writes into an empty folder, which is renamed afterwards; gives facts for later.

    Raises:
        UserError: if neither the data's folder nor the user's cache can be written to.
    """
    places = [root / FOLDER / name, user_cache() / f'{_mark(root)}-{name}']
    for place in places:
        if (place / _NOTE).is_file():
            return place, json.loads((place / _NOTE).read_text(encoding='utf-8')), False
    problems = []
    for place in places:
        if problem := _unwritable(place.parent):
            problems.append(f'{place.parent} ({problem})')
            continue
        return place, _built(place, build), True
    raise UserError(
        f'{root} is converted before it is read, and there is no room for the copy in '
        f'{" or ".join(problems)}: make one of them writable, or set XDG_CACHE_HOME'
    )


def _built(place: Path, build: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    made = Path(tempfile.mkdtemp(prefix='.making-', dir=place.parent))
    made.chmod(0o755)
    try:
        facts = build(made)
        (made / _NOTE).write_text(json.dumps(facts, indent=1), encoding='utf-8')
        with suppress(OSError):  # another process was faster, with the same
            made.rename(place)
        if not (place / _NOTE).is_file():
            raise UserError(f'cannot write {place}')
    except OSError as error:
        raise UserError(f'{place}: {error.strerror or error}') from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return facts


def _mark(root: Path) -> str:
    return hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:12]


def _unwritable(folder: Path) -> str:
    """Why a folder cannot hold links; empty if it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix='.trying-', dir=folder) as trial:
            os.symlink('nothing', os.path.join(trial, 'link'))
    except (OSError, NotImplementedError) as error:
        return getattr(error, 'strerror', None) or str(error)
    return ''


def link(source: Path, place: Path) -> None:
    """Let ``place`` lead to a file or folder; folders above it are made.

    Relative where both lie in the folder of the data, so that it can be moved with its copies.

    Raises:
        DataError: if there is another one already.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    source, place = Path(os.path.abspath(source)), place.absolute()
    beside = place.parent.parts[: len(source.parts)]
    inside = FOLDER in place.parts and (
        Path(*place.parts[: place.parts.index(FOLDER)]) in source.parents
    )
    # one level less: the copy is renamed within its parent, so the depth stays
    target = os.path.relpath(source, place.parent) if inside and beside else str(source)
    try:
        os.symlink(target, place)
    except FileExistsError:
        raise DataError(
            f'{source} and {original(place)} get the same name {place.name}: rename one'
        ) from None


def original(path: str | os.PathLike[str]) -> str:
    """The file that a path of a copy stands for; any other path as it is."""
    text = os.fspath(path)
    while _is_of_copy(text) and os.path.islink(text):
        text = os.path.normpath(os.path.join(os.path.dirname(text), os.readlink(text)))
    return text


def _is_of_copy(path: str) -> bool:
    return f'{os.sep}{FOLDER}{os.sep}' in path or path.startswith(str(user_cache()))
