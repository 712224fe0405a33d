"""The results table as a picture: one bar a row, the spread over seeds as a line at its end.

Plain SVG text, so that the same results give the same bytes wherever it is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from g2sd_mm.bench import methods
from g2sd_mm.bench.reports.summary import Line

_BAR, _RIGHT, _STEP, _HEAD = 440, 230, 26, 30
_LEFT, _LETTER = 150, 8.0  # room for names, and what a letter takes of it in the widest fonts


def bars(lines: Sequence[Line]) -> str:
    """An SVG picture of the headline metric of every row that finished, grouped by task.

    Args:
        lines: of :func:`g2sd_mm.bench.reports.summary.summarise`; values in percent.
    """
    parts: list[str] = []
    longest = max((len(line.name) for line in lines), default=0)
    left = max(_LEFT, round(16 + _LETTER * longest))
    y = 8
    for task in dict.fromkeys(line.task for line in lines):
        drawn = [line for line in lines if line.task == task and line.mean is not None]
        if drawn:
            parts.append(_text(8, y + 18, f'{task}, {drawn[0].metric}', 'font-weight="bold"'))
            y += _HEAD
            full = _full(drawn)
            for line in drawn:
                parts += _bar(line, left, y, full)
                y += _STEP
            y += 8
    width = left + _BAR + _RIGHT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="14">\n'
        f'<rect width="{width}" height="{y}" fill="#ffffff"/>\n' + '\n'.join(parts) + '\n</svg>\n'
    )


def _full(lines: Sequence[Line]) -> float:
    """What the longest bar stands for: 100 %, or of errors, which have no end, the largest."""
    if not lines[0].lower_is_better:
        return 100.0
    return max((line.mean or 0.0) + (line.spread or 0.0) for line in lines) or 1.0


def _bar(line: Line, left: int, y: float, full: float) -> list[str]:
    mean = line.mean or 0.0
    end = left + _BAR * max(mean, 0.0) / full  # -1 is how COCO says that there is nothing to find
    parts = [
        _text(left - 8, y + 14, line.name, 'text-anchor="end"'),
        f'<rect x="{left}" y="{y + 2}" width="{end - left:.1f}" height="16" '
        f'fill="{methods.colour(line.method)}"/>',
    ]
    figure = f'{mean:.1f}'
    tip = end
    if line.spread is not None:
        low, tip = (left + _BAR * (mean + sign * line.spread) / full for sign in (-1, 1))
        parts.append(
            f'<path d="M{low:.1f},{y + 10} H{tip:.1f}" stroke="#222222" stroke-width="2"/>'
        )
        figure += f' ± {line.spread:.1f}'
    if line.retained is not None and line.method != 'teacher':
        figure += f'  ({line.retained:.0f} % of teacher)'
    return [*parts, _text(tip + 8, y + 14, figure)]


def _text(x: float, y: float, text: str, more: str = '') -> str:
    return f'<text x="{x:.1f}" y="{y}" fill="#222222" {more}>{escape(text)}</text>'
