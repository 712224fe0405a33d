"""Write a folder into one LMDB file; :mod:`~g2sd_mm.datasets.packed` reads it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..errors import UserError
from ..image_files import files_below, is_broken_link
from ..text import some
from .packed import SUFFIX, add_checksums, import_lmdb

_PAGE = 4096
_LONGEST_KEY = 511  # bytes, LMDB's limit
_COMMIT_EVERY = 1000
_SPARE = 64 * 2**20  # bytes, for the tree's root, free pages and meta data


def pack_folder(
    folder: Path, file: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> int:
    """Write every file below a folder, byte by byte as it is, under its path from there.

    The file grows under another name and gets its own when it is whole.

    Args:
        folder: of images, or of images and annotations, in any layout. Hidden files, and those of
            the system, stay out.
        file: to write, ending in ``.lmdb``.
        progress: is told how many of how many files are written, now and then.

    Returns:
        the number of files.

    Raises:
        UserError: if the folder is empty or not there, the file is there, a path is too long, or a
            link leads to nothing.
    """
    lmdb = import_lmdb()
    if file.suffix != SUFFIX:
        raise UserError(f'{file}: the name of packed data ends in {SUFFIX}')
    if file.exists():
        raise UserError(f'{file} is already there: remove it, or choose another name')
    if not folder.is_dir():
        raise UserError(f'no folder {folder}')
    # sorted as LMDB sorts, so that every record goes to the end of the tree
    passed_over: list[Path] = []
    files = files_below(folder, passed_over)
    keys = sorted(os.fsencode(path.relative_to(folder).as_posix()) for path in files)
    if broken := [str(path) for path in passed_over if is_broken_link(path)]:
        raise UserError(
            f'links that lead to nothing: {some(broken, 3)}; bring their files back, or remove them'
        )
    if not keys:
        raise UserError(f'no files in {folder}')
    longest = max(keys, key=len)
    if len(longest) > _LONGEST_KEY:
        path = os.fsdecode(longest)
        raise UserError(f'{path}: paths of more than {_LONGEST_KEY} bytes do not fit')
    file.parent.mkdir(parents=True, exist_ok=True)
    growing = file.with_name(f'.{file.name}.part')
    growing.unlink(missing_ok=True)
    size = sum(_room(key, (folder / os.fsdecode(key)).stat().st_size) for key in keys) + _SPARE
    environment = lmdb.open(
        str(growing), subdir=False, map_size=size, lock=False, sync=False, meminit=False
    )
    try:
        for first in range(0, len(keys), _COMMIT_EVERY):
            with environment.begin(write=True) as transaction:
                for key in keys[first : first + _COMMIT_EVERY]:
                    content = (folder / os.fsdecode(key)).read_bytes()
                    transaction.put(key, content, append=True)
            progress(min(first + _COMMIT_EVERY, len(keys)), len(keys))
        environment.sync(True)
    except BaseException:
        growing.unlink()
        raise
    finally:
        environment.close()
    add_checksums(growing)
    os.replace(growing, file)
    return len(keys)


def _room(key: bytes, content: int) -> int:
    """Bytes that a record takes at most: pages of its own, and its entry in half-full ones."""
    return (content // _PAGE + 2) * _PAGE + 4 * (len(key) + 16)
