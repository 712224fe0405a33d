"""The results table as a picture: one bar a row, the spread over seeds as a line at its end.

Plain SVG text, so that the same results give the same bytes wherever it is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .summary import Line

_LEFT, _BAR, _RIGHT, _STEP, _HEAD = 150, 440, 190, 26, 30
_COLOURS = {'teacher': '#2f5d8a', 'g2sd': '#b9770e', 'g2sd_nosd': '#e0a84c'}
_OTHERS = '#a8a8a8'


def bars(lines: Sequence[Line]) -> str:
    """An SVG picture of the headline metric of every row that finished, grouped by task.

    Args:
        lines: of :func:`g2sd_mm.reports.summary.summarise`; values in percent.
    """
    parts: list[str] = []
    y = 8
    for task in dict.fromkeys(line.task for line in lines):
        drawn = [line for line in lines if line.task == task and line.mean is not None]
        if drawn:
            parts.append(_text(8, y + 18, f'{task}, {drawn[0].metric}', 'font-weight="bold"'))
            y += _HEAD
            for line in drawn:
                parts += _bar(line, y)
                y += _STEP
            y += 8
    width = _LEFT + _BAR + _RIGHT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="14">\n'
        f'<rect width="{width}" height="{y}" fill="#ffffff"/>\n' + '\n'.join(parts) + '\n</svg>\n'
    )


def _bar(line: Line, y: float) -> list[str]:
    mean = line.mean or 0.0
    end = _LEFT + _BAR * mean / 100
    colour = _COLOURS.get(line.method, _OTHERS)
    parts = [
        _text(_LEFT - 8, y + 14, line.name, 'text-anchor="end"'),
        f'<rect x="{_LEFT}" y="{y + 2}" width="{end - _LEFT:.1f}" height="16" fill="{colour}"/>',
    ]
    figure = f'{mean:.1f}'
    tip = end
    if line.spread is not None:
        low, tip = (_LEFT + _BAR * (mean + sign * line.spread) / 100 for sign in (-1, 1))
        parts.append(
            f'<path d="M{low:.1f},{y + 10} H{tip:.1f}" stroke="#222222" stroke-width="2"/>'
        )
        figure += f' ± {line.spread:.1f}'
    if line.retained is not None and line.method != 'teacher':
        figure += f'  ({line.retained:.0f} % of teacher)'
    return [*parts, _text(tip + 8, y + 14, figure)]


def _text(x: float, y: float, text: str, more: str = '') -> str:
    return f'<text x="{x:.1f}" y="{y}" fill="#222222" {more}>{escape(text)}</text>'
