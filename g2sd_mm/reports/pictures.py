"""Predictions and reconstructions as pictures side by side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from . import methods
from .parts import escape, grid

#: Columns of a task's pictures, as far as there are such pictures; names of folders -> headings.
COLUMNS = {
    'input': 'input',
    'truth': 'ground truth',
    'scratch': 'scratch',
    'g2sd_nosd': 'G2SD, stage 1 only',
    'g2sd': 'G2SD',
    'teacher': 'teacher',
}
_RECONSTRUCTED = {
    'input': 'input',
    'masked': 'what is seen',
    'student': 'student, through the teacher\'s decoder',
    'teacher': 'teacher',
}


def prediction_grids(folder: Path) -> Iterator[str]:
    """A grid for each task below ``folder``: ``<task>/<column>/<image>.jpg``."""
    for task, title in methods.TITLES.items():
        columns = _columns(folder / task, COLUMNS)
        if columns:
            yield f'<h3>{escape(title)}</h3>{grid(columns)}'


def reconstruction_grid(folder: Path) -> str:
    """Masked images and what stage 1 makes of them; empty if there are none."""
    columns = _columns(folder, _RECONSTRUCTED)
    return grid(columns) if columns else ''


def _columns(folder: Path, names: dict[str, str]) -> list[tuple[str, list[Path]]]:
    found = [
        (title, sorted([*(folder / name).glob('*.jpg'), *(folder / name).glob('*.png')]))
        for name, title in names.items()
    ]
    return [(title, files) for title, files in found if files]
