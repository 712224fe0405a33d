"""What a report's page is made of: plain values, which ``page.html.j2`` turns into HTML.

Nothing here is HTML, and the template escapes every text: what somebody called a class, a run or a
file is shown and never run.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TYPES = {'.jpg': 'jpeg', '.png': 'png', '.svg': 'svg+xml'}


def data_uri(file: Path) -> str:
    """An image file as an address that has all of it."""
    content = base64.b64encode(file.read_bytes()).decode()
    return f'data:image/{_TYPES[file.suffix]};base64,{content}'


class Block:
    """A piece of a section."""

    @property
    def template(self) -> str:
        """Name of the macro that shows it."""
        return type(self).__name__.lower()


@dataclass(frozen=True)
class Heading(Block):
    """A heading within a section."""

    text: str


@dataclass(frozen=True)
class Paragraph(Block):
    """Text; ``kind`` is a class of the style sheet: ``note`` or ``bad``."""

    text: str
    kind: str = ''


@dataclass(frozen=True)
class Bullets(Block):
    """A list."""

    items: Sequence[str]


@dataclass(frozen=True)
class Table(Block):
    """A table that scrolls sideways where it is wider than the page."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Code(Block):
    """Text as it was typed."""

    text: str


@dataclass(frozen=True)
class Figure(Block):
    """A drawing of ours (SVG text), with a caption; ``label`` is what a screen reader says."""

    svg: str
    caption: str
    label: str = ''
    narrow: bool = False  # it is readable at the width of a telephone, and shrinks to it


@dataclass(frozen=True)
class Picture(Block):
    """An image file, embedded."""

    file: Path
    alt: str


@dataclass(frozen=True)
class Cell:
    """One place of a grid: an image file, or words; ``wrong`` words stand out."""

    image: Path | None = None
    words: str = ''
    wrong: bool = False


@dataclass(frozen=True)
class Grid(Block):
    """Cells side by side: a column for each name, a row for each cell that all columns have."""

    columns: Sequence[tuple[str, Sequence[Cell]]]
    small: bool = False

    @property
    def rows(self) -> Iterator[list[tuple[str, Cell]]]:
        """Name of the column and cell, row by row."""
        names = [name for name, _ in self.columns]
        for cells in zip(*(cells for _, cells in self.columns), strict=False):
            yield list(zip(names, cells, strict=True))


@dataclass(frozen=True)
class Legend(Block):
    """Names beside their colours (CSS)."""

    colours: Mapping[str, str]


@dataclass(frozen=True)
class Section:
    """A section of the page, to which its index points."""

    name: str
    title: str
    blocks: Sequence[Block]
