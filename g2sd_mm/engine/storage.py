"""Where checkpoints go: a folder in which every file is whole or not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.fileio.backends import LocalBackend, register_backend

from ..checkpoints.write import whole_or_not


class WholeFileBackend(LocalBackend):
    """mmengine's files on a disk, written by temporary file, fsync and rename.

    Chosen by ``backend_args=dict(backend='whole_file')``.
    """

    def __init__(self) -> None:
        self._spared: set[str] | None = None
        self._doomed: list[str] = []

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes; the folder is made.

        Raises:
            OSError: if the disk is full or the folder cannot be written; the old file stays.
        """
        Path(filepath).parent.mkdir(parents=True, exist_ok=True)
        with whole_or_not(filepath) as temporary:
            temporary.write_bytes(obj)
        if self._spared is not None:
            self._spared.add(str(filepath))

    def remove(self, filepath: str | Path) -> None:
        """Remove a file, at the end of :meth:`removing_last` if inside of it."""
        if self._spared is None:
            super().remove(filepath)
        else:
            self._doomed.append(str(filepath))

    @contextmanager
    def removing_last(self) -> Iterator[None]:
        """Files removed in this block go when it has ended well, unless it wrote them anew."""
        self._spared, self._doomed = set(), []
        try:
            yield
        except BaseException:
            self._doomed = []
            raise
        finally:
            spared, self._spared = self._spared, None
            for path in self._doomed:
                if path not in spared and self.isfile(path):
                    self.remove(path)


register_backend('whole_file', WholeFileBackend)
