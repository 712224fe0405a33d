"""Work that one process at a time may do: the others wait, or do without."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout


@contextlib.contextmanager
def file_lock(
    path: Path, wait: float = -1, told: Callable[[], object] = lambda: None
) -> Iterator[bool]:
    """Hold a lock that the system drops when its owner dies; yield whether it could be had.

    Where there are no such locks (some network drives) the work is done without, so it must still
    put its results in place by renaming them.

    Args:
        path: file that stands for the lock. It is made, and stays.
        wait: seconds; -1 for as long as it takes.
        told: called before it waits for another process.

    Raises:
        filelock.Timeout: if another process has it for longer.
        PermissionError, NotADirectoryError, FileExistsError: if it cannot be made.
    """
    lock = FileLock(path)
    try:
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=0)
        if not lock.is_locked:
            told()
            lock.acquire(timeout=wait)
    except (Timeout, PermissionError, NotADirectoryError, FileExistsError):
        raise
    except (OSError, NotImplementedError):
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
