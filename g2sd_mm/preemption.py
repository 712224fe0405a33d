"""Requests to end: the signals that clusters send before they take a machine away.

Nothing heavy is imported here: a request may come while libraries are still being loaded.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.popen_fork import Popen
from multiprocessing.process import BaseProcess
from multiprocessing.util import register_after_fork
from types import FrameType
from typing import Any

from .errors import Preempted

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
#: Seconds between two looks for the parent: a worker holds the connections of a killed rank.
LOOK = 0.5
_received: list[str] = []


@contextmanager
def ending_at_once() -> Iterator[None]:
    """SIGTERM and SIGUSR1 in this block raise :class:`Preempted`: there is nothing to save.

    For all of a command around :func:`listening`. What is left to do after it, and may take a
    while, is the end of the process, which then has the exit code of the command.
    """
    _received.clear()
    atexit.unregister(ending_anyway)
    atexit.register(ending_anyway)
    with _handling(_end):
        yield


@contextmanager
def listening() -> Iterator[None]:
    """Note SIGTERM and SIGUSR1 in this block instead of dying of them.

    Whoever trains asks :func:`request` at places where it can end. In a thread other than the main
    one, where Python has no signals, this does nothing.

    Raises:
        Preempted: if there was a request in a block of :func:`ending_at_once` around this one, and
            a library caught what was raised.
    """
    if _in_main_thread() and signal.getsignal(signal.SIGTERM) is _end and _received:
        raise Preempted(_reason(_received[0]))
    _received.clear()
    with _handling(_note):
        yield


def ending_while_waiting() -> AbstractContextManager[None]:
    """SIGTERM and SIGUSR1 kill in this block, which waits for other processes outside of Python:
    no handler would be called there."""
    return _handling(signal.SIG_DFL)


def ending_anyway() -> None:
    """From here on SIGTERM and SIGUSR1 change nothing: the command is over, the process ends."""
    if _in_main_thread():
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def request() -> str:
    """Name of the first signal since :func:`listening` began; empty if there was none."""
    return _received[0] if _received else ''


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], Any] | signal.Handlers) -> Iterator[None]:
    if not _in_main_thread():
        yield
        return
    # what a library forks in this block would note the signal by which it is to end, and go on
    register_after_fork(block := threading.Event(), end_with_parent)  # noqa: F841 - kept alive here
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _note(number: int, frame: FrameType | None) -> None:
    _received.append(signal.Signals(number).name)


def _end(number: int, frame: FrameType | None) -> None:
    _note(number, frame)
    raise Preempted(_reason(_received[0]))


def _reason(name: str) -> str:
    return f'ended by {name} while no step was under way: there was nothing to save'


_fork = Popen._launch  # type: ignore[attr-defined]  # not of its types


def _fork_deaf(popen: Popen, process: BaseProcess) -> None:
    """Start a worker with SIGTERM held back, so that one that comes before
    :func:`end_with_parent` still ends it: the handler that it inherits would only take note."""
    if signal.getsignal(signal.SIGTERM) not in (_note, _end):
        return _fork(popen, process)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        _fork(popen, process)  # a worker never comes back from here
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


Popen._launch = _fork_deaf  # type: ignore[attr-defined]

_obeying = 0  # the process that ends with its parent: what it forks has its memory, and no thread


def end_with_parent(_: Any = None) -> None:
    """Let this process end at its parent's SIGTERM, at nobody else's, and when the parent is gone.

    Clusters send theirs to all processes of a job. A worker that fell at once would take the
    training process with it before that could finish its step and save.
    """
    global _obeying
    if _obeying == os.getpid():
        return
    _obeying = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # blocked here, and so in every thread that is begun from here: this one takes it
    threading.Thread(target=_obey, args=(os.getppid(),), daemon=True).start()


def _obey(parent: int) -> None:
    """torch looks for the parent too, between batches: a worker that hands over a batch larger than
    a pipe holds would wait for ever."""
    while os.getppid() == parent:
        received = signal.sigtimedwait({signal.SIGTERM}, LOOK)
        if received is not None and received.si_pid == parent:
            break
    os._exit(0)
