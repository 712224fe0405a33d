"""What an interrupted run left: whether a new start goes on from it, and the time spent so far."""

from __future__ import annotations

import json
import time
from itertools import count
from pathlib import Path

from ...checkpoints.integrity import POINTER
from ...checkpoints.write import write_text

NOTE = 'begun.json'


def begin(run: Path, digest: str, resume: bool = False) -> float | None:
    """Note in a run's folder that it begins, or goes on from its newest checkpoint.

    It goes on if it was begun with the same configuration. A folder of anything else is set aside
    under another name: it may be the work of weeks.

    Args:
        run: work dir.
        digest: of the configuration.
        resume: go on too where nothing is noted: the run was begun by hand.

    Returns:
        seconds that the run took up to the checkpoint that it goes on from; None for a new run.
    """
    place, pointer = run / NOTE, run / POINTER
    note = json.loads(place.read_text()) if place.is_file() else None
    goes_on = note['digest'] == digest if note else resume
    seconds = 0.0
    if not goes_on:
        set_aside(run)
    elif note:
        saved = pointer.stat().st_mtime if pointer.is_file() else 0.0
        seconds = note['seconds'] + max(saved - note['started'], 0.0)
    run.mkdir(parents=True, exist_ok=True)
    now = {'digest': digest, 'started': time.time(), 'seconds': round(seconds, 1)}
    write_text(place, json.dumps(now))
    return seconds if goes_on else None


def set_aside(run: Path) -> Path | None:
    """Rename a run's folder to ``<run>_before_<N>``; None if it is not there or empty."""
    if not run.is_dir() or not any(run.iterdir()):
        return None
    names = (run.with_name(f'{run.name}_before_{number}') for number in count(1))
    return run.rename(next(name for name in names if not name.exists()))
