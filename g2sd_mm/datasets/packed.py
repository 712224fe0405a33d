"""A folder packed into one LMDB file: how it is written, checked, and read under paths of its own.

``packed://data/train.lmdb/dog/1.jpg`` is the file ``dog/1.jpg`` of what became ``data/train.lmdb``.
mmengine chooses the file backend by what stands before ``://``, so such a path can be the
``data_root`` of any data set. ``tools/pack_data.py`` makes the files.
"""

from __future__ import annotations

import os
import shlex
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.fileio import BaseStorageBackend, register_backend

from ..compat.data_folders import matches, note_stray
from ..config.parts import PACKED
from ..errors import DataError, UserError
from ..image_files import files_below, is_broken_link, is_stray
from ..text import some

if TYPE_CHECKING:
    import lmdb


SUFFIX = '.lmdb'
_AFTER_SLASH = chr(ord('/') + 1)
_SEAL = struct.Struct('<I8s')  # behind each file: its checksum, and a mark
_MARK = b'g2sdfile'


def _import_lmdb() -> Any:
    """The optional library.

    Raises:
        UserError: if it is not installed.
    """
    try:
        import lmdb
    except ModuleNotFoundError as error:
        raise UserError('packed data need lmdb: pip install "g2sd_mm[packed]"') from error
    return lmdb


def split_path(path: str | Path) -> tuple[str, str]:
    """The LMDB file of a ``packed://`` path, and the path inside without slashes at its ends.

    Raises:
        ValueError: if no part of the path ends in ``.lmdb``.
    """
    file, found, inside = str(path).removeprefix(PACKED).partition(SUFFIX + '/')
    if not found:
        if not file.endswith(SUFFIX):
            raise ValueError(f'{path}: no {SUFFIX} file in it, as in {PACKED}data/train{SUFFIX}')
        return file, ''
    return file + SUFFIX, inside.strip('/')


_opened: dict[str, lmdb.Environment] = {}


def _open(file: str) -> lmdb.Environment:
    """A packed file for reading.

    LMDB maps it into memory: what is cut off at the end ends the process by SIGBUS when it is read,
    without a word. So its length is compared with what its own head says.

    Raises:
        DataError: if it is cut off, or no LMDB file.
        FileNotFoundError: if it is not there.
    """
    if file in _opened:
        return _opened[file]
    lmdb = _import_lmdb()
    if not os.path.isfile(file):
        command = f'python tools/pack_data.py FOLDER {shlex.quote(file)}'
        raise FileNotFoundError(f'no file {file}: {command} makes it')
    try:
        opened = lmdb.open(file, subdir=False, readonly=True, lock=False, readahead=False)
    except lmdb.Error as error:
        raise DataError(
            f'{file} is not packed data, or damaged: pack it with tools/pack_data.py'
        ) from error
    size = os.path.getsize(file)
    expected = (opened.info()['last_pgno'] + 1) * opened.stat()['psize']
    if size < expected:
        opened.close()
        raise DataError(
            f'{file} is cut off: {size} of {expected} bytes; copy it again, or pack it again with '
            'tools/pack_data.py'
        )
    return _opened.setdefault(file, opened)


@contextmanager
def _reading(file: str) -> Iterator[Any]:
    try:
        with _open(file).begin() as transaction:
            yield transaction
    except _import_lmdb().Error as error:
        raise DataError(_damaged(file, str(error))) from error


def _unsealed(content: bytes, path: str | Path) -> bytes:
    """A file without its checksum; those that version 0.1 packed have none.

    Raises:
        DataError: if it is not what was packed.
    """
    at = len(content) - _SEAL.size
    if at < 0 or not content.endswith(_MARK):
        return content
    if zlib.crc32(memoryview(content)[:at]) != _SEAL.unpack_from(content, at)[0]:
        raise DataError(_damaged(path, 'checksums differ'))
    return content[:at]


def _damaged(path: str | Path, reason: str) -> str:
    return (
        f'{path} is damaged: {reason}; copy the packed file again, or pack it again with '
        'tools/pack_data.py'
    )


def _close_all() -> None:
    while _opened:
        _opened.popitem()[1].close()


# A worker must not go on with what its parent opened; it opens the files again when it reads.
os.register_at_fork(after_in_child=_close_all)


# Writing ----------------------------------------------------------------------------------------

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
    lmdb = _import_lmdb()
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
                    seal = _SEAL.pack(zlib.crc32(content), _MARK)
                    transaction.put(key, content + seal, append=True)
            progress(min(first + _COMMIT_EVERY, len(keys)), len(keys))
        environment.sync(True)
    except BaseException:
        growing.unlink()
        raise
    finally:
        environment.close()
    os.replace(growing, file)
    return len(keys)


def _room(key: bytes, content: int) -> int:
    """Bytes that a record takes at most: pages of its own, and its entry in half-full ones."""
    return ((content + _SEAL.size) // _PAGE + 2) * _PAGE + 4 * (len(key) + 16)


# Reading ----------------------------------------------------------------------------------------


@register_backend('packed', prefixes='packed', force=True)
class PackedBackend(BaseStorageBackend):
    """A packed folder as mmengine's file backend; it can only be read.

    Every method takes ``packed://`` paths and raises FileNotFoundError for what is not there.
    """

    def get(self, filepath: str | Path) -> bytes:
        """Content of a file."""
        file, key = split_path(filepath)
        with _reading(file) as transaction:
            content = transaction.get(os.fsencode(key)) if key else None
        if content is None:
            raise FileNotFoundError(f'{file} has no file {key}')
        return _unsealed(content, filepath)

    def get_text(self, filepath: str | Path, encoding: str = 'utf-8') -> str:
        """Content of a text file."""
        return self.get(filepath).decode(encoding)

    @contextmanager
    def get_local_path(self, filepath: str | Path) -> Iterator[str]:
        """A temporary copy, for those who open files themselves (COCO's annotations)."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / Path(split_path(filepath)[1]).name
            copy.write_bytes(self.get(filepath))
            yield str(copy)

    def isfile(self, filepath: str | Path) -> bool:
        """Whether there is such a file."""
        return self._has(*split_path(filepath))

    def isdir(self, filepath: str | Path) -> bool:
        """Whether there is a file in such a folder."""
        file, folder = split_path(filepath)
        return any(True for _ in _names(file, folder, recursive=False))

    def exists(self, filepath: str | Path) -> bool:
        """Whether there is such a file or folder."""
        return self.isfile(filepath) or self.isdir(filepath)

    def join_path(self, filepath: str | Path, *filepaths: str | Path) -> str:
        """The paths with one slash between them."""
        return '/'.join([str(filepath).rstrip('/'), *(str(part).strip('/') for part in filepaths)])

    def list_dir_or_file(
        self,
        dir_path: str | Path,
        list_dir: bool = True,
        list_file: bool = True,
        suffix: str | tuple[str, ...] | None = None,
        recursive: bool = False,
    ) -> Iterator[str]:
        """Names of what lies in a folder, sorted, relative to it.

        Args:
            dir_path: of the folder.
            list_dir, list_file: what to list.
            suffix: of files.
            recursive: look into folders, too.
        """
        file, folder = split_path(dir_path)
        for name in _names(file, folder, recursive):
            if name.endswith('/'):
                if list_dir:
                    yield name[:-1]
            elif list_file and matches(name, suffix):
                yield name

    @staticmethod
    def _has(file: str, key: str) -> bool:
        with _reading(file) as transaction:
            return bool(key) and transaction.cursor().set_key(os.fsencode(key))


def _names(file: str, folder: str, recursive: bool) -> Iterator[str]:
    """What lies in a folder, relative to it; folders end in a slash and come before their files."""
    start = folder + '/' if folder else ''
    seen: tuple[str, ...] = ()
    with _reading(file) as transaction:
        cursor = transaction.cursor()
        more = cursor.set_range(os.fsencode(start)) if start else cursor.first()
        while more and (key := os.fsdecode(cursor.key())).startswith(start):
            name = key[len(start) :]
            *parents, _ = name.split('/')
            parts = name.split('/') if recursive else name.split('/', 1)[:1]
            if stray := next((part for part in parts if is_stray(part)), None):
                note_stray(f'{file}/{start}{name.partition(stray)[0]}{stray}')
                more = cursor.next()
                continue
            if parents and not recursive:
                yield parents[0] + '/'
                # on to the first key behind this folder
                more = cursor.set_range(os.fsencode(start + parents[0] + _AFTER_SLASH))
                continue
            for depth in range(1, len(parents) + 1):
                if tuple(parents[:depth]) != seen[:depth]:
                    yield '/'.join(parents[:depth]) + '/'
            seen = tuple(parents)
            yield name
            more = cursor.next()
