"""Work that one process at a time may do: the others wait."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Hold a lock that the system drops when its owner dies; yield whether it could be had.

    Where there are no such locks (Windows, some network drives) the work is done without, so it
    must still put its results in place by renaming them.

    Args:
        path: file that stands for the lock. It is made, and stays.
    """
    try:
        import fcntl
    except ImportError:
        yield False
        return
    with path.open('w') as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            held = True
        except OSError:
            held = False
        try:
            yield held
        finally:
            if held:  # a forked process that lives on, such as a data worker, has the handle too
                fcntl.flock(handle, fcntl.LOCK_UN)
