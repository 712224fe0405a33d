"""The results table as text for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from .summary import HEADLINE, Line

_HEADER = ('task', 'method', 'metric', 'value', 'of teacher', 'params', 'GFLOPs', 'own', 'total')


def cells(line: Line) -> tuple[str, ...]:
    """One line's cells, in the order of the header."""
    if not line.values:
        return (line.task, line.method, HEADLINE[line.task], 'failed', *[''] * 5)
    value = f'{line.mean:.2f}' + (f' ± {line.spread:.2f}' if line.spread is not None else '')
    return (
        line.task,
        line.method,
        HEADLINE[line.task],
        value,
        f'{line.retained:.1f} %' if line.retained is not None else '',
        f'{line.params_m:.2f} M',
        f'{line.gflops:.2f}',
        f'{line.own_seconds:.0f} s',
        f'{line.total_seconds:.0f} s',
    )


def text_table(lines: Sequence[Line]) -> str:
    """Aligned columns."""
    rows = [_HEADER, *map(cells, lines)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADER))]
    return '\n'.join(
        '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def markdown_table(lines: Sequence[Line]) -> str:
    """A Markdown table."""
    rows = [_HEADER, tuple('---' for _ in _HEADER), *map(cells, lines)]
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in rows)
