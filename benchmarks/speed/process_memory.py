"""Memory of this process, as Linux tells it."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from pathlib import Path

_STATUS = Path('/proc/self/status')


def status(field: str) -> int:
    """A size in bytes: ``VmRSS`` is what is resident, ``VmHWM`` the most that ever was.

    Raises:
        OSError: where the system does not say.
    """
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f'{field}:'):
            return int(line.split()[1]) * 1024
    raise OSError(f'no {field} in {_STATUS}')


def give_back() -> None:
    """Return freed memory to the system: it would count as in use, and be used again."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc


def forget_peak() -> None:
    """Let the kernel count the highest memory from now on.

    Raises:
        OSError: where it does not let itself be told to.
    """
    Path('/proc/self/clear_refs').write_text('5')
