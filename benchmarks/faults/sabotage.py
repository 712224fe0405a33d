"""Things that go wrong inside of a run, at a chosen moment."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Moments of saving a checkpoint at which a process can be killed, in their order.
MOMENTS = ('half written', 'written', 'renamed', 'pointed to', 'pruning')


def dies_while_saving(moment: str, number: int, share: float = 0.5) -> Callable[[], None]:
    """SIGKILL while the ``number``-th checkpoint (from 1) is saved.

    Args:
        moment: one of :data:`MOMENTS`: with ``share`` of the temporary file on the disk; before
            its renaming; before and after ``last_checkpoint`` names it; before an old one goes.
        number: which checkpoint.
        share: of the bytes that were written.
    """

    def sabotage() -> None:
        from mmengine.fileio import LocalBackend

        saved, replace, remove = 0, os.replace, LocalBackend.remove

        def replacing(source: Any, target: Any) -> None:
            nonlocal saved
            name = Path(target).name
            is_pointer = name == 'last_checkpoint'
            saved += name.startswith(('epoch_', 'iter_'))
            due = saved == number
            if due and not is_pointer and moment == 'half written':
                os.truncate(source, int(share * os.path.getsize(source)))
                _die()
            if due and moment == ('renamed' if is_pointer else 'written'):
                _die()
            replace(source, target)
            if due and is_pointer and moment == 'pointed to':
                _die()

        def removing(backend: LocalBackend, path: Any) -> None:
            if saved >= number and moment == 'pruning':
                _die()
            remove(backend, path)

        os.replace, LocalBackend.remove = replacing, removing

    return sabotage


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def limits_file_size(size: int) -> Callable[[], None]:
    """No file may get larger: writing fails in the middle, as on a full disk (EFBIG)."""

    def sabotage() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return sabotage


def mounts(folder: Path, options: str) -> Callable[[], None]:
    """A tmpfs of the child's own on ``folder``, which the rest of the machine does not see.

    Args:
        folder: place to mount.
        options: as of mount(8): ``size=4m``; ``ro`` for one that cannot be written.

    Raises:
        OSError: where this process may not mount.
    """

    def sabotage() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        new_mounts, private, read_only = 0x20000, 1 << 18 | 1 << 14, 1
        flags = read_only if options == 'ro' else 0
        text = b'' if flags else options.encode()
        for code in (
            libc.unshare(new_mounts),
            libc.mount(b'none', b'/', None, private, None),
            libc.mount(b'tmpfs', str(folder).encode(), b'tmpfs', flags, text),
        ):
            if code != 0:
                number = ctypes.get_errno()
                raise OSError(number, f'cannot mount a tmpfs here: {os.strerror(number)}')

    return sabotage


def refuses(part: str, number: int, error: Exception) -> Callable[[], None]:
    """``error`` at the ``number``-th training step, from 1, as if it came from within.

    Args:
        part: for messages of the test.
        number: which step.
        error: what is raised.
    """

    def sabotage() -> None:
        from mmengine.model import BaseModel

        steps, parse = 0, BaseModel.parse_losses

        def parsing(model: BaseModel, losses: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == number:
                raise error
            return parse(model, losses)

        BaseModel.parse_losses = parsing

    sabotage.__name__ = part
    return sabotage
