"""matplotlib figures as SVG for a page, and the learning curves.

Figures have no background, and text in the colour of the page's text. Of the curves, seeds share a
colour; where there are several students, the first one's lines are full, the others' broken and
paler.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from ...tasks import TASKS
from .. import methods
from ..logs import Curve, Points
from .blocks import Figure as Drawing
from .summary import Line

# stands for the colour of the text around the picture, which is light on a dark page
_INK = '#010203'
_STYLE = {
    'svg.fonttype': 'none',  # text stays text: small files, and it can be searched
    'font.family': 'sans-serif',
    'font.sans-serif': ['DejaVu Sans'],
    'font.size': 9,
    'axes.titlesize': 10,
    'text.color': _INK,
    'axes.edgecolor': _INK,
    'axes.labelcolor': _INK,
    'axes.facecolor': 'none',
    'figure.facecolor': 'none',
    'xtick.color': _INK,
    'ytick.color': _INK,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'grid.color': _INK,
    'grid.alpha': 0.15,
    'legend.frameon': False,
    'legend.fontsize': 8,
    'lines.linewidth': 1.6,
}


_STYLES = ('-', '--', ':')  # of the students' curves


def svg(name: str, draw: Callable[[Figure], None], width: float = 8, height: float = 3.4) -> str:
    """An ``<svg>`` element.

    Args:
        name: of the picture; the same drawing under the same name gives the same text, and
            drawings of different names on one page keep their identifiers apart.
        draw: puts axes and lines into the figure.
        width, height: in inches.
    """
    settings: dict[Any, Any] = {**_STYLE, 'svg.hashsalt': name}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(width, height), layout='constrained')
        draw(figure)
        text = io.StringIO()
        FigureCanvasSVG(figure).print_svg(text, metadata={'Date': None})
    content = text.getvalue().replace(_INK, 'currentColor')
    return content[content.index('<svg') :]


def task_charts(lines: Sequence[Line]) -> Iterator[Drawing]:
    """A picture for each task: what every main row is worth, with its 95 % interval."""
    for task, facts in TASKS.items():
        own = [line for line in lines if line.task == task and line.table == 'main' and line.values]
        if len(own) > 1:
            several = any(line.half_width is not None for line in own)
            interval = ', with its 95 % interval' if several else ', from one seed'
            less = ', less is better' if own[0].lower_is_better else ''
            yield Drawing(
                svg(f'rows {task}', partial(_rows, lines=own), 5.2, 0.7 + 0.3 * len(own)),
                f'{facts.title}: {own[0].metric}{less}{interval}.',
                f'figures of all rows, {facts.title}',
                narrow=True,
            )


def _rows(fig: Figure, lines: Sequence[Line]) -> None:
    axes = fig.subplots()
    places = range(len(lines), 0, -1)
    for place, line in zip(places, lines, strict=True):
        mean, colour = line.mean or 0.0, methods.colour(line.method)
        axes.errorbar(
            mean, place, xerr=line.half_width, fmt='o', color=colour, capsize=3, markersize=7
        )
        axes.annotate(f'{mean:.1f}', (mean, place), (0, 6), fontsize=8,
                      textcoords='offset points', ha='center')  # fmt: skip
    axes.set(xlabel=_with_unit(lines[0]), ylim=(0.5, len(lines) + 0.8))
    axes.margins(x=0.08)
    axes.set_yticks(list(places), [line.name for line in lines])
    axes.grid(axis='y', visible=False)


def arithmetic_chart(lines: Sequence[tuple[Line, float]]) -> Drawing:
    """What the lines of a task are worth against their arithmetic, in 1e15 operations.

    A broken line joins those that no other one beats with as little arithmetic or less.
    """
    first = lines[0][0]
    less = ', less is better' if first.lower_is_better else ''
    name = f'arithmetic {first.task} {lines[-1][0].table}'
    return Drawing(
        svg(name, partial(_arithmetic, lines=lines), 6.2, 4.2),
        f'{first.metric}{less} against the arithmetic of all runs that a row went through, without '
        'that of training its teachers. The broken line joins the rows that no other one beats '
        'with as little arithmetic.',
        f'{first.metric} and arithmetic of all rows, {TASKS[first.task].title}',
    )


def _arithmetic(fig: Figure, lines: Sequence[tuple[Line, float]]) -> None:
    axes = fig.subplots()
    order = sorted(lines, key=lambda pair: pair[0].mean or 0.0, reverse=True)
    for number, (line, pflop) in enumerate(order):
        mean, colour = line.mean or 0.0, methods.colour(line.method)
        axes.plot(pflop, mean, 'o', color=colour, markersize=6)
        # names stand in a column of their own: many rows are next to each other
        axes.annotate(
            line.name, (pflop, mean), (1.06, 1 - (number + 0.5) / len(order)), fontsize=7,
            textcoords='axes fraction', va='center', annotation_clip=False,
            arrowprops=dict(
                arrowstyle='-', color=colour, linewidth=0.5, alpha=0.6, shrinkB=3, relpos=(0, 0.5)
            ),
        )  # fmt: skip
    best = front([(pflop, line.mean or 0.0) for line, pflop in lines], lines[0][0].lower_is_better)
    axes.plot(*zip(*best, strict=True), '--', color=_INK, linewidth=0.8, alpha=0.5, zorder=0)
    axes.set(xlabel='PFLOP', ylabel=_with_unit(lines[0][0]))


def _with_unit(line: Line) -> str:
    unit = TASKS[line.task].metric(line.metric).unit
    return f'{line.metric} ({unit})' if unit else line.metric


def front(
    points: Sequence[tuple[float, float]], lower_is_better: bool
) -> list[tuple[float, float]]:
    """The points (cost, value) that no other one beats at the same cost or less, by their cost."""
    sign = -1.0 if lower_is_better else 1.0
    found: list[tuple[float, float]] = []
    for cost, value in sorted(points, key=lambda point: (point[0], -sign * point[1])):
        if not found or sign * value > sign * found[-1][1]:
            found.append((cost, value))
    return found


def curve_figures(curves: Sequence[Curve]) -> Iterator[Drawing]:
    """A figure for each task, and one for the runs without labels."""
    for task, facts in TASKS.items():
        own = [curve for curve in curves if curve.task == task]
        if own:
            title = facts.title
            validated = any(len(curve.metric) > 1 for curve in own)
            metric = f' and {facts.headline} on the validation images' if validated else ''
            each = 'One line a seed' + (' and student' if len(_students(own)) > 1 else '')
            yield Drawing(
                svg(f'curves {task}', partial(_task, curves=own, task=task if validated else '')),
                f'{title}: training loss{metric}. {each}. Losses of different methods '
                'have different terms.',
                f'learning curves, {title}',
            )
    unlabelled = [curve for curve in curves if not curve.task]
    if unlabelled:
        yield Drawing(
            svg('curves without labels', lambda fig: _losses(fig.subplots(), unlabelled)),
            'Runs without labels (masked pre-training, stage 1): training loss'
            + (', and its terms, broken, where there are several, as of several teachers.'
               if any(curve.terms for curve in unlabelled) else '.'),
            'learning curves of runs without labels',
        )


def _task(fig: Figure, curves: Sequence[Curve], task: str) -> None:
    if not task:  # a figure at the end of training alone is in the tables, and no curve
        _losses(fig.subplots(), curves)
        return
    left, right = fig.subplots(1, 2)
    _losses(left, curves)
    students = _students(curves)
    for curve in curves:
        marker = 'o' if len(curve.metric) == 1 else None
        _line(right, curve.metric, curve, students, marker)
    unit = TASKS[task].metrics[0].unit
    right.set(xlabel='iteration', ylabel=f'{TASKS[task].headline} ({unit})', xlim=(0, None))


def _losses(axes: Any, curves: Sequence[Curve]) -> None:
    students = _students(curves)
    for curve in curves:
        _line(axes, curve.loss, curve, students)
        for style, (term, points) in zip(cycle(_STYLES[1:]), curve.terms.items()):
            name = f'{curve.method} {term.removeprefix("loss_")}'
            axes.plot(*zip(*points, strict=True), label=name, linestyle=style, linewidth=1.0,
                      color=methods.colour(curve.method), alpha=0.85)  # fmt: skip
    losses(axes)
    _legend(axes)


def losses(axes: Any) -> None:
    """Axes of training losses by iteration."""
    axes.set(xlabel='iteration', ylabel='training loss', yscale='log', xlim=(0, None))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter('{x:g}')
    axes.yaxis.set_minor_locator(NullLocator())


def _students(curves: Sequence[Curve]) -> list[str]:
    """Whose lines have to be told apart: the teacher's have a name of their own."""
    return list(dict.fromkeys(curve.student for curve in curves if curve.method != 'teacher'))


def _line(
    axes: Any, points: Points, curve: Curve, students: Sequence[str], marker: str | None = None
) -> None:
    if points:
        several = len(students) > 1 and curve.student in students and curve.method != 'teacher'
        name = f'{curve.method} {curve.student}'.rstrip() if several else curve.method
        style = _STYLES[students.index(curve.student) % len(_STYLES)] if several else '-'
        axes.plot(
            *zip(*points, strict=True), label=name, marker=marker, markersize=4,
            color=methods.colour(name), alpha=0.85, linewidth=1.2, linestyle=style,
        )  # fmt: skip


def _legend(axes: Any) -> None:
    """One entry a method and student, however many seeds it has."""
    handles, labels = axes.get_legend_handles_labels()
    known = dict(zip(labels, handles, strict=True))
    names = methods.ordered(known)
    if names:
        axes.legend([known[name] for name in names], names)
