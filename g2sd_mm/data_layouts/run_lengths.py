"""Run lengths of masks, as COCO files have them.

Runs that do not add up to the picture, or a text that is no run lengths at all, would stop a run in
the middle: they are found before.
"""

from __future__ import annotations

from typing import Any


def covered(counts: Any) -> int | None:
    """Pixels that run lengths cover, zeros and ones together; None if they are none.

    Args:
        counts: a list of numbers, or the compressed text (five bits a character, least significant
            first, a sixth that says whether more follow; from the third run on as the difference to
            the run before the last).
    """
    runs = _checked_runs(counts)
    return None if runs is None else sum(runs)


def ones(counts: Any) -> int | None:
    """Pixels of the object: every second run, from the second on; None if they are none."""
    runs = _checked_runs(counts)
    return None if runs is None else sum(runs[1::2])


def _checked_runs(counts: Any) -> list[int] | None:
    if isinstance(counts, str):
        runs = _runs(counts)
    else:
        runs = counts if isinstance(counts, list) else None
    if runs is None or not all(type(run) is int and run >= 0 for run in runs):
        return None
    return runs


def _runs(text: str) -> list[int] | None:
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return None if shift else runs
