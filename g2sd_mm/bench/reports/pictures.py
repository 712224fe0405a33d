"""The drawing of the method; predictions and reconstructions side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...config.project import project_folder
from ...errors import UserError
from ...tasks import TASKS
from .. import methods
from .blocks import Block, Cell, Grid, Heading, Legend, Paragraph, Picture

METHOD = project_folder() / 'docs' / 'images' / 'method.svg'
_METHOD_IN_WORDS = (
    'Stage 1: a small autoencoder predicts the hidden features of a large one from the same '
    'visible patches. Stage 2: its encoder is fine-tuned on the task beside a fine-tuned teacher.'
)
#: Columns of a task's pictures: names of folders -> headings. Shown as far as there are such
#: pictures, where the task's folder does not name its own, see :data:`NAMED`.
COLUMNS = {
    'input': 'input',
    'truth': 'ground truth',
    **{method.name: method.title for method in methods.METHODS.values() if method.pictured},
}
_RECONSTRUCTED = {
    'input': 'input',
    'masked': 'what is seen',
    'student': "student, teacher's decoder",
    'teacher': 'teacher',
}
#: Class names of the images, one a line, where whole images have a class: ``truth/classes.txt``.
CLASSES = 'classes.txt'
#: Of segmentations, ``truth/colours.json``: the classes' ``colours`` as CSS, by name, and which are
#: ``present`` in the annotations.
COLOURS = 'colours.json'
#: Columns of a task's folder in their order, ``<task>/columns.json``, as :data:`COLUMNS`: those of
#: a suite with several students, or of rows that somebody added, are not known beforehand.
NAMED = 'columns.json'
#: Whose predictions they are: ``<task>/runs.txt`` has the name of a seed's folder.
RUNS = 'runs.txt'
_BACKGROUND = 'background'  # stays as it is in the image


def method_picture() -> Picture:
    """The drawing, embedded as a file: its style sheet stays its own, and knows light and dark."""
    return Picture(METHOD, _METHOD_IN_WORDS)


def prediction_grids(folder: Path) -> Iterator[Block]:
    """A grid for each task below ``folder``: ``<task>/<column>/<image>.jpg``.

    Classes are told in words, from ``predictions.json`` of each column; wrong ones stand out.
    """
    for task in TASKS.values():
        own = folder / task.key
        classes = own / 'truth' / CLASSES
        told = classes.is_file()
        columns = _told(own, classes) if told else _columns(own, _named(own))
        if columns:
            yield Heading(task.title)
            yield _note(own)
            yield Grid(columns, small=told)
            yield from _legend(own)


def _named(folder: Path) -> dict[str, str]:
    file = folder / NAMED
    if not file.is_file():
        return COLUMNS
    names = json.loads(file.read_text())
    if outside := [name for name in names if Path(name).name != name or name == '..']:
        raise UserError(f'{file} names {outside[0]!r}, which is no folder beside it')
    return names


def _note(folder: Path) -> Paragraph:
    file = folder / RUNS
    runs = f', runs of {file.read_text().strip()}' if file.is_file() else ''
    return Paragraph(f'Validation images, evenly taken{runs}.', 'note')


def reconstruction_grid(folder: Path) -> Grid | None:
    """Masked images and what stage 1 makes of them; None if there are none."""
    columns = _columns(folder, _RECONSTRUCTED)
    return Grid(columns) if columns else None


def _columns(folder: Path, names: Mapping[str, str]) -> list[tuple[str, list[Cell]]]:
    found = [
        (title, sorted([*(folder / name).glob('*.jpg'), *(folder / name).glob('*.png')]))
        for name, title in names.items()
    ]
    return [(title, [Cell(file) for file in files]) for title, files in found if files]


def _legend(folder: Path) -> Iterator[Legend]:
    """The colours of the classes that the pictures of a segmentation show."""
    file = folder / 'truth' / COLOURS
    if not file.is_file():
        return
    known = json.loads(file.read_text())
    predicted = {
        name
        for method in _named(folder)
        for prediction in _predictions(folder / method)
        for name in prediction.get('classes', ())
    }
    shown = (predicted | set(known['present'])) - {_BACKGROUND}
    colours = {name: c for name, c in known['colours'].items() if name in shown}
    if colours:
        yield Legend(colours)


def _predictions(column: Path) -> list[dict[str, Any]]:
    file = column / 'predictions.json'
    return json.loads(file.read_text()) if file.is_file() else []


def _told(folder: Path, classes: Path) -> list[tuple[str, list[Cell]]]:
    truth = classes.read_text().splitlines()
    columns = _columns(folder, {'input': COLUMNS['input']})
    columns.append((COLUMNS['truth'], [Cell(words=name) for name in truth]))
    for method, title in _named(folder).items():
        scores = [prediction['scores'] for prediction in _predictions(folder / method)]
        if scores:
            columns.append((title, [_best(s, t) for s, t in zip(scores, truth, strict=False)]))
    return columns


def _best(scores: Mapping[str, float], truth: str) -> Cell:
    name = max(scores, key=lambda each: scores[each])
    return Cell(words=f'{name} {scores[name]:.2f}', wrong=name != truth)
