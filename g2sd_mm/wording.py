"""What messages have in common: lists that are cut short, and errors in one line."""

from __future__ import annotations

from collections.abc import Sequence


def some(names: Sequence[str], shown: int = 3) -> str:
    """The first names of a list and how many more there are: ``a, b, c and 2 more``."""
    more = f' and {len(names) - shown} more' if len(names) > shown else ''
    return ', '.join(names[:shown]) + more


def one_line(error: BaseException) -> str:
    """An error's message in one line; its type's name where it has none."""
    return ' '.join(str(error).split()) or type(error).__name__


def first_line(error: BaseException) -> str:
    """The first line of an error's message; empty where it has none."""
    return (str(error).strip().splitlines() or [''])[0].strip()
