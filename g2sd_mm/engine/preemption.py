"""Requests to end: the signals that clusters send before they take a machine away."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
_received: list[str] = []


@contextmanager
def listening() -> Iterator[None]:
    """Note SIGTERM and SIGUSR1 in this block instead of dying of them.

    Whoever trains asks :func:`request` at places where it can end. In a thread other than the main
    one, where Python has no signals, this does nothing.
    """
    _received.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _note) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def request() -> str:
    """Name of the first signal since :func:`listening` began; empty if there was none."""
    return _received[0] if _received else ''


def _note(number: int, frame: FrameType | None) -> None:
    _received.append(signal.Signals(number).name)
