"""The work dir of a run: it can be written, and one run at a time is in it."""

from __future__ import annotations

import os
import re
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import Timeout

from ..datasets.seeded import LOOK
from ..errors import UserError
from ..lock import file_lock

#: File in the work dir that is locked. It stays; the lock ends with the process that holds it.
NAME = '.lock'
#: Seconds that are waited for a run that is just ending, or for loader workers of a killed one.
WAIT = 2 * LOOK
_RANKS = {'pytorch': 'RANK', 'slurm': 'SLURM_PROCID', 'mpi': 'OMPI_COMM_WORLD_RANK'}


def check_work_dir(folder: str) -> None:
    """Make the work dir and try to write there, before anything takes time.

    Raises:
        UserError: if that cannot be done.
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b'\0' * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(
            f'cannot write into the work dir {folder}: {error.strerror}; give another with '
            '--work-dir DIR, or make room'
        ) from error


def is_first_process(launcher: str) -> bool:
    """Whether this process holds the lock for all of its run, before they are connected."""
    name = _RANKS.get(launcher)
    return name is None or os.environ.get(name, '0') == '0'


@contextmanager
def work_dir_lock(folder: str) -> Iterator[None]:
    """Keep other runs out of a work dir in this block.

    The system drops the lock when its process ends, in whatever way. On a file system without locks
    nothing is locked.

    Args:
        folder: that is there.

    Raises:
        UserError: if another run is in it.
    """
    path = Path(folder) / NAME
    with ExitStack() as stack:
        locked = False
        try:
            locked = stack.enter_context(file_lock(path, WAIT))
        except Timeout:
            raise UserError(
                f'another run{_holder(path)} is training in {folder}: their results would replace '
                'each other. Give --work-dir DIR, or wait until it has ended'
            ) from None
        except OSError:
            pass  # no locks there
        if locked:
            with suppress(OSError):  # a full disk is found out elsewhere
                path.write_text(f'process {os.getpid()} on {socket.gethostname()}\n')
        yield


def _holder(path: Path) -> str:
    try:
        found = re.fullmatch(r'process \d+ on [\w.-]{1,100}\n', path.read_text(errors='replace'))
    except OSError:
        return ''
    return f' ({found[0].strip()})' if found else ''
