"""Write files that are whole or not there, and where those go that can be made again.

Imports nothing heavy: the checker runs without torch.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_IMODE
from tempfile import TemporaryDirectory


def user_cache() -> Path:
    """Folder of the user for what can be made again; it need not exist."""
    base = os.environ.get('XDG_CACHE_HOME') or os.path.join(os.path.expanduser('~'), '.cache')
    return Path(base) / 'g2sd_mm'


def write_text(path: str | Path, text: str) -> None:
    """Write a text file: whole or not there.

    Raises:
        OSError: if the disk is full or the folder cannot be written; no partial file stays.
    """
    with whole_or_not(path) as temporary:
        temporary.write_text(text)


def write_page(path: str | Path, text: str) -> None:
    """Write a page or a picture of text (HTML, SVG) in UTF-8, as it says of itself.

    Names of files that are no UTF-8 have escapes. Else as :func:`write_text`.
    """
    with whole_or_not(path) as temporary:
        temporary.write_bytes(page_bytes(text))


def page_bytes(text: str) -> bytes:
    """A page as :func:`write_page` writes it."""
    return text.encode('utf-8', 'backslashreplace')


@contextmanager
def whole_or_not(path: str | Path) -> Iterator[Path]:
    """A temporary file to write; it becomes ``path`` if nothing goes wrong, else it is gone.

    It is on the disk before it takes the name, and the name is before this returns: a machine that
    goes down at any moment leaves the old file or the new one. Only a killed process leaves the
    temporary file behind, see :func:`remove_leftovers`.
    """
    path = Path(path)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        mode = _usual_mode(temporary)
        yield temporary
        os.chmod(temporary, mode)  # safetensors lets nobody but its owner read what it writes
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def tried_first(path: str | Path) -> Iterator[Path]:
    """A file to write, and to try under its own name in a folder beside; then it becomes ``path``.

    If anything goes wrong it is gone, and what was at ``path`` is as it was. Files that the writer
    puts beside it (parts of a large ONNX file) come along.
    """
    path = Path(path)
    with TemporaryDirectory(prefix=f'.{path.name}.', dir=path.parent) as folder:
        new = Path(folder, path.name)
        yield new
        parts = [part for part in Path(folder).iterdir() if part != new]
        for part in (*parts, new):
            _sync(part)
            os.replace(part, path.with_name(part.name))
    _sync(path.parent)


def _usual_mode(path: Path) -> int:
    """Who may read and write a file that this process makes there; nothing stays of it."""
    path.touch()
    mode = S_IMODE(path.stat().st_mode)
    path.unlink()
    return mode


def remove_leftovers(folder: str | Path) -> list[Path]:
    """Remove what killed processes left of files in a folder that nobody else writes to now."""
    leftovers = list(Path(folder).glob('.*.[0-9]*.tmp'))
    for file in leftovers:
        file.unlink(missing_ok=True)
    return leftovers


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        # some network file systems have nothing to wait for in a folder
        if error.errno != errno.EINVAL or not path.is_dir():
            raise
    finally:
        os.close(number)
