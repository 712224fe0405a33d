"""What messages have in common: lists that are cut short, errors in one line, and plain text."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path

#: Control and format characters (escape sequences, line ends, changes of writing direction), lone
#: surrogates, and the two separators that end a line without being control characters.
_UNPRINTABLE = ('Cc', 'Cf', 'Cs', 'Zl', 'Zp')
_JOINERS = '\u200c\u200d'  # parts of words in several scripts


def printable(text: str, keep: str = '') -> str:
    """A text from a file (a name, a path) that a terminal can show: it stays in its line.

    Characters that would move the cursor, change colours or begin a line are written as Python
    writes them in source text: an escape becomes ``\\x1b``, a line end ``\\n``.

    Args:
        text: any text.
        keep: control characters that may stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return ''.join(
        char.encode('unicode_escape').decode()
        if unicodedata.category(char) in _UNPRINTABLE and char not in keep + _JOINERS
        else char
        for char in text
    )


def as_called(text: str) -> str:
    """A text whose ``python tools/train.py`` is ``g2sd train`` for whoever calls commands so.

    Outside of a checkout the scripts are not where a message says.
    """
    if not sys.argv[0].startswith('g2sd '):  # as g2sd_mm/__main__.py leaves it
        return text
    return re.sub(r'(?<![\w/])(python )?tools/(?!benchmark)(\w+)\.py', r'g2sd \2', text)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of as many cells each as lines with columns of one width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return '\n'.join(
        '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def some(names: Sequence[str], shown: int = 3) -> str:
    """The first names of a list and how many more there are: ``a, b, c and 2 more``.

    Names come from files: control characters in them are escaped, see :func:`printable`.
    """
    more = f' and {len(names) - shown} more' if len(names) > shown else ''
    return ', '.join(map(printable, names[:shown])) + more


def one_line(error: BaseException) -> str:
    """An error's message in one line; its type's name where it has none."""
    return printable(' '.join(str(error).split())) or type(error).__name__


def first_line(error: BaseException) -> str:
    """The first line of an error's message; empty where it has none."""
    return printable((str(error).strip().splitlines() or [''])[0].strip())


def telling_names(paths: Sequence[Path]) -> list[str]:
    """The last parts of paths, as many as tell them apart; control characters are escaped."""
    names: list[str] = []
    for parts in range(1, max(len(path.parts) for path in paths) + 1):
        names = ['/'.join(path.parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return [printable(name) for name in names]
