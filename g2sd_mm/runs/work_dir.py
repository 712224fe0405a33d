"""The work dir of a run: it can be written, and one run at a time is in it."""

from __future__ import annotations

import os
import re
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import Timeout
from mmengine.config import Config

from ..checkpoints.record import describe_data, read_sidecar
from ..errors import UserError
from ..lock import file_lock
from ..preemption import LOOK

#: File in the work dir that is locked. It stays; the lock ends with the process that holds it.
NAME = '.lock'
#: Seconds that are waited for a run that is just ending, or for loader workers of a killed one.
WAIT = 2 * LOOK
_RANKS = {'pytorch': 'RANK', 'slurm': 'SLURM_PROCID', 'mpi': 'OMPI_COMM_WORLD_RANK'}


def check_work_dir(folder: str, option: str = '--work-dir') -> None:
    """Make the work dir and try to write there, before anything takes time.

    ``option`` gives another one.

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
            f'{option} DIR, or make room'
        ) from error


def refuse_other_data(cfg: Config) -> None:
    """Stop where a run by the same name has left weights of other data, which it would replace.

    Raises:
        UserError: naming both folders.
    """
    weights = Path(cfg.work_dir) / 'weights.pth'
    try:
        record = read_sidecar(weights) if weights.is_file() else None
    except UserError:
        return  # whose weights they are is not known
    there = _folders((record or {}).get('origin', {}).get('dataset'))
    here = _folders(describe_data(cfg))
    if there and here and there != here:
        folder = Path(cfg.work_dir)
        raise UserError(
            f'{weights} was trained on {", ".join(there)}, and this run on {", ".join(here)} would '
            f'replace it: give --runs {folder.parent}_{Path(here[0]).name} for all runs on these '
            'data, or --work-dir DIR for this one'
        )


def _folders(described: Mapping[str, Any] | None) -> list[str]:
    parts = (described or {}).get('datasets') or [described or {}]
    return [os.path.abspath(part['data_root']) for part in parts if part.get('data_root')]


def is_first_process(launcher: str) -> bool:
    """Whether this process holds the lock for all of its run, before they are connected."""
    name = _RANKS.get(launcher)
    return name is None or os.environ.get(name, '0') == '0'


@contextmanager
def work_dir_lock(folder: str, option: str = '--work-dir') -> Iterator[None]:
    """Keep other runs out of a work dir in this block.

    The system drops the lock when its process ends, in whatever way. On a file system without locks
    nothing is locked.

    Args:
        folder: that is there.
        option: gives another one.

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
                f'each other. Give {option} DIR, or wait until it has ended'
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
