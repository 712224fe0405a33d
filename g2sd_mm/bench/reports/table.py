"""The results table as text for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from .summary import Line

_HEADER = ('task', 'method', 'metric', 'value', 'of teacher', 'params', 'GFLOPs', 'own', 'total')


def cells(line: Line) -> tuple[str, ...]:
    """One line's cells, in the order of the header."""
    if not line.values:
        why = 'not a number' if line.undefined else 'failed'
        return (line.task, line.name, line.metric, why, *[''] * 5)
    value = f'{line.mean:.2f}' + (f' ± {line.spread:.2f}' if line.spread is not None else '')
    if len(line.seeds) < line.of:
        undefined = f', {len(line.undefined)} not a number' if line.undefined else ''
        value += f' ({len(line.seeds)} of {line.of} seeds{undefined})'
    return (
        line.task,
        line.name,
        line.metric,
        value,
        f'{line.retained:.1f} %' if line.retained is not None else '',
        f'{line.params_m:.2f} M' if line.params_m is not None else '',
        f'{line.gflops:.2f}' if line.gflops is not None else '',
        f'{line.own_seconds:.0f} s',
        f'{line.total_seconds:.0f} s',
    )


def table(lines: Sequence[Line], header: Sequence[str] = _HEADER) -> list[tuple[str, ...]]:
    """Header and rows; the paper's figures stand beside ours where there are any."""
    rows = [tuple(header), *map(cells, lines)]
    if not any(line.published for line in lines):
        return rows
    said = ['published', *(line.published for line in lines)]
    return [(*row[:4], figure, *row[4:]) for row, figure in zip(rows, said, strict=True)]


def text_table(lines: Sequence[Line]) -> str:
    """Aligned columns."""
    rows = table(lines)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return '\n'.join(
        '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def markdown_table(lines: Sequence[Line]) -> str:
    """A Markdown table."""
    header, *body = table(lines)
    rows = [header, tuple('---' for _ in header), *body]
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in rows)
