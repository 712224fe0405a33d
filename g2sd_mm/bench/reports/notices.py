"""What has to be known before any figure of a report is read."""

from __future__ import annotations

from typing import Any

_NAMED = 6  # longer lists are cut


def notices(results: dict[str, Any]) -> list[str]:
    """The suite's note, rows that are missing, and files of rows that were left out.

    Args:
        results: content of ``results.json``.
    """
    missing, left_out = results.get('missing', ()), results.get('left_out', ())
    found = [results['note']] if results.get('note') else []
    if missing:
        whole = len(missing) + len(results['rows'])
        found.append(f'{len(missing)} of {whole} rows are missing: {_list(missing)}.')
    if left_out:
        found.append(
            f'{len(left_out)} kept rows are of another configuration than the suite now has, and '
            f'left out: {_list(left_out)}.'
        )
    return found


def _list(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ', '.join(names[:_NAMED]) + (f' and {more} more' if more > 0 else '')
