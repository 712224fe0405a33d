"""A command's stdout, stderr and log: where they end, the command goes on; lines stay lines."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any, TextIO

from g2sd_mm.text import printable

_NAMES = ('stdin', 'stdout', 'stderr')


@contextlib.contextmanager
def lasting_streams() -> Iterator[None]:
    """Let nothing that is printed in the ``with`` block raise, whatever becomes of the terminal.

    A closed stream, a pipe whose reader has left, a full disk, a terminal that is gone: what is
    printed from then on goes nowhere, and no error comes of it, at the interpreter's end neither.
    Letters that the stream's encoding lacks are written as escapes.
    """
    _open_missing()
    before = sys.stdout, sys.stderr
    ours = _Lasting(before[0], 'stdout'), _Lasting(before[1], 'stderr')
    sys.stdout, sys.stderr = ours
    try:
        yield
    finally:
        for stream in ours:
            stream.flush()
        sys.stdout, sys.stderr = before


def _open_missing() -> None:
    """Give 0, 1 and 2 to the null device where they are closed.

    Else the next file that is opened gets the number, and what a library prints is written into
    it: into a checkpoint, say.
    """
    for number in range(len(_NAMES)):
        try:
            os.fstat(number)
        except OSError:  # open() takes the lowest number that is free, which is this one
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
    for number, name in enumerate(_NAMES):
        if getattr(sys, name) is None:  # so Python says that it was closed
            setattr(sys, name, open(os.devnull, 'r' if number == 0 else 'w'))  # noqa: SIM115


class _Lasting:
    """Stands in front of a text stream, and hands on what it takes."""

    def __init__(self, target: TextIO, name: str) -> None:
        self._target, self._name = target, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._target)

    def write(self, text: str) -> int:
        """Write or lose a text."""
        try:
            self._target.write(text)
        except UnicodeEncodeError:
            self._write_escaped(text)
        except (OSError, ValueError) as error:  # a ValueError: the stream was closed
            self._lose(error)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write or lose each."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Hand on what is kept, or lose it."""
        try:
            self._target.flush()
        except (OSError, ValueError) as error:
            self._lose(error)

    def _write_escaped(self, text: str) -> None:
        encoding = self._target.encoding or 'ascii'
        self.write(text.encode(encoding, 'backslashreplace').decode(encoding))

    def _lose(self, error: Exception) -> None:
        """Let the stream end in the null device, so that what it still keeps goes there as well."""
        if isinstance(error, BlockingIOError):
            return  # its reader is only slow
        with contextlib.suppress(OSError, ValueError):
            number = self._target.fileno()
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, number)
            os.close(null)
            self._target.flush()
        if isinstance(error, OSError) and error.errno != errno.EPIPE and self._name == 'stdout':
            sys.stderr.write(
                f'warning: stdout cannot be written ({error.strerror}); the command goes on, and '
                'what it prints from here on is lost\n'
            )


_LAYOUT = '\n\t'  # of messages with tables, which libraries write


@contextmanager
def printable_logs() -> Iterator[None]:
    """Control characters in log messages are escaped while this is open, in all loggers.

    What is put into a message (texts, paths, errors) cannot end its line; the message itself can.
    """
    factory = logging.getLogRecordFactory()

    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = factory(*args, **kwargs)
        if isinstance(record.msg, str):
            record.msg = printable(record.msg, _LAYOUT)
        if isinstance(record.args, tuple):
            record.args = tuple(_plain(argument) for argument in record.args)
        return record

    logging.setLogRecordFactory(make)
    try:
        yield
    finally:
        logging.setLogRecordFactory(factory)


def _plain(value: Any) -> Any:
    texts = (str, PurePath, BaseException)
    return printable(str(value)) if isinstance(value, texts) else value
