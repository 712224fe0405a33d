"""Log lines that stay lines, whatever the names in them: files and tensors have any name."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any

from g2sd_mm.text import printable

__all__ = ['printable_logs']

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
