"""Learning curves: training loss and validation of every row, seeds in one colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from . import methods
from .logs import Curve, Points
from .parts import figure
from .plots import svg
from .summary import HEADLINE


def curve_figures(curves: Sequence[Curve]) -> Iterator[str]:
    """A figure for each task, and one for the runs without labels."""
    for task in ('cls', 'det', 'seg'):
        own = [curve for curve in curves if curve.task == task]
        if own:
            title = methods.TITLES[task]
            validated = any(len(curve.metric) > 1 for curve in own)
            metric = f' and {HEADLINE[task]} on the validation images' if validated else ''
            yield figure(
                svg(f'curves {task}', partial(_task, curves=own, task=task if validated else '')),
                f'{title}: training loss{metric}. One line a seed. Losses of different methods '
                'have different terms.',
                f'learning curves, {title}',
            )
    unlabelled = [curve for curve in curves if not curve.task]
    if unlabelled:
        yield figure(
            svg('curves without labels', lambda fig: _losses(fig.subplots(), unlabelled)),
            'Runs without labels (masked pre-training, stage 1): training loss.',
            'learning curves of runs without labels',
        )


def _task(fig: Figure, curves: Sequence[Curve], task: str) -> None:
    if not task:  # a figure at the end of training alone is in the tables, and no curve
        _losses(fig.subplots(), curves)
        return
    left, right = fig.subplots(1, 2)
    _losses(left, curves)
    for curve in curves:
        _line(right, curve.metric, curve, marker='o' if len(curve.metric) == 1 else None)
    right.set(xlabel='update', ylabel=f'{HEADLINE[task]} (%)', xlim=(0, None))


def _losses(axes: Any, curves: Sequence[Curve]) -> None:
    for curve in curves:
        _line(axes, curve.loss, curve)
    axes.set(xlabel='update', ylabel='training loss', yscale='log', xlim=(0, None))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter('{x:g}')
    axes.yaxis.set_minor_locator(NullLocator())
    _legend(axes)


def _line(axes: Any, points: Points, curve: Curve, marker: str | None = None) -> None:
    if points:
        axes.plot(
            *zip(*points, strict=True), label=curve.method, marker=marker, markersize=4,
            color=methods.colour(curve.method), alpha=0.85, linewidth=1.2,
        )  # fmt: skip


def _legend(axes: Any) -> None:
    """One entry a method, however many seeds it has."""
    handles, labels = axes.get_legend_handles_labels()
    known = dict(zip(labels, handles, strict=True))
    names = methods.ordered(known)
    if names:
        axes.legend([known[name] for name in names], names)
