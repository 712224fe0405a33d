"""Pieces of HTML. Whatever text goes in is escaped here and nowhere else."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TYPES = {'.jpg': 'jpeg', '.png': 'png', '.svg': 'svg+xml'}


def escape(text: str) -> str:
    """Text as it is seen, whatever is in it."""
    return html.escape(text)


def paragraph(text: str, kind: str = '') -> str:
    """``<p>``; ``kind`` is a class of the style sheet."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f'<p>{escape(text)}</p>'


def bullets(items: Iterable[str]) -> str:
    """``<ul>``."""
    return '<ul>' + ''.join(f'<li>{escape(item)}</li>' for item in items) + '</ul>'


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table that scrolls sideways where it is wider than the page."""
    head = ''.join(f'<th>{escape(cell)}</th>' for cell in header)
    body = ''.join(
        '<tr>' + ''.join(f'<td>{escape(cell)}</td>' for cell in row) + '</tr>' for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def code(text: str) -> str:
    """``<pre>``."""
    return f'<pre>{escape(text)}</pre>'


def figure(svg: str, caption: str, label: str = '') -> str:
    """A drawing of ours, inline, with a caption below it."""
    return (
        f'<figure role="img" aria-label="{escape(label or caption)}">{svg}'
        f'<figcaption>{escape(caption)}</figcaption></figure>'
    )


def picture(file: Path, alt: str = '') -> str:
    """An image file, embedded."""
    data = base64.b64encode(file.read_bytes()).decode()
    kind = _TYPES[file.suffix]
    return f'<img alt="{escape(alt or file.stem)}" src="data:image/{kind};base64,{data}">'


@dataclass(frozen=True)
class Cell:
    """One place of a grid: an image file, or words; ``wrong`` words stand out."""

    image: Path | None = None
    words: str = ''
    wrong: bool = False


def grid(columns: Sequence[tuple[str, Sequence[Cell]]], small: bool = False) -> str:
    """Cells side by side: a column for each name, a row for each cell that all columns have."""
    kind = 'grid small' if small else 'grid'
    head = ''.join(f'<th>{escape(name)}</th>' for name, _ in columns)
    rows = []
    for cells in zip(*(cells for _, cells in columns), strict=False):
        named = zip((name for name, _ in columns), cells, strict=True)
        rows.append('<tr>' + ''.join(_cell(name, cell) for name, cell in named) + '</tr>')
    return (
        f'<div class="wide"><table class="{kind}" style="--columns:{len(columns)}">'
        f'<tr>{head}</tr>{"".join(rows)}</table></div>'
    )


def _cell(column: str, cell: Cell) -> str:
    if cell.image:
        return f'<td>{picture(cell.image, f"{column}: {cell.image.stem}")}</td>'
    kind = ' class="bad"' if cell.wrong else ''
    return f'<td{kind}>{escape(cell.words)}</td>'


def legend(colours: Mapping[str, str]) -> str:
    """Names beside their colours (CSS); empty for none."""
    entries = ''.join(
        f'<span><i style="background:{escape(colour)}"></i>{escape(name)}</span>'
        for name, colour in colours.items()
    )
    return f'<p class="legend">{entries}</p>' if entries else ''


def section(name: str, title: str, *content: str) -> str:
    """A section with a heading that the page's index can point to."""
    return f'<section id="{escape(name)}"><h2>{escape(title)}</h2>{"".join(content)}</section>'
