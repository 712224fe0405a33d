"""What a teacher's licence allows, as far as its name says."""

from __future__ import annotations

import re

_FREE = re.compile(r'apache|^mit$|^bsd|^isc$|^cc0|^cc-by-4|^cc-by-sa-|^unlicense$|^zlib$')
_NOT_FOR_SALE = re.compile(r'(^|[-_ ])nc([-_ ]|$)|non-?commercial|research|amlr')


def licence_warning(licence: str | None) -> str | None:
    """A sentence about a licence that is not free for every use; None of one that is, or unknown.

    Args:
        licence: its short name, as model cards have it: ``apache-2.0``, ``cc-by-nc-4.0``, ...
    """
    name = (licence or '').strip().lower()
    if not name or _FREE.search(name):
        return None
    if _NOT_FOR_SALE.search(name):
        return (
            f'its licence {licence} forbids commercial use, and a student that learned from it may '
            'fall under it too'
        )
    return f'its licence {licence} has terms of its own: read them before the student is used'


def licence_sentence(named: tuple[str, str]) -> str:
    """For readers of a student: its teacher's name and licence, and what that means."""
    name, licence = named
    warning = licence_warning(licence)
    return f'It learned from {name}: {warning or f"its licence is {licence}"}.'
