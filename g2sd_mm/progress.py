"""Bars with rate and time left on a terminal; elsewhere a plain line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from .text import printable

_EVERY = 0.2  # seconds between two drawings of the bars


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(_rate(task.speed, task.fields['unit']))


@dataclass
class Bar:
    """One piece of work: :meth:`advance` it, or say where it is with :meth:`at`."""

    bars: Bars
    name: str
    total: int | None
    unit: str
    done: int = 0
    started: float = 0.0
    first: int = 0  # where it stood when it started to be watched
    handle: Any = None

    def advance(self, steps: int = 1) -> None:
        """So many more are done."""
        self.at(self.done + steps)

    def at(self, done: int) -> None:
        """So many are done by now."""
        self.done = done
        self.bars.moved(self)

    def go_on(self, done: int) -> None:
        """So many were done before; the rate counts from here and now."""
        self.done = self.first = done
        self.bars.restarted(self)

    def end(self) -> None:
        """Take the bar away."""
        self.bars.ended(self)

    def line(self, now: float) -> str:
        """``name: 1,200/5,000 images, 310 images/s, 12 s left``."""
        parts = [f'{self.done:,}/{self.total:,}' if self.total else f'{self.done:,}']
        seconds, moved = now - self.started, self.done - self.first
        speed = moved / seconds if moved and seconds > 0 else None
        text = f'{self.name}: {parts[0]} {self.unit}'
        if speed:
            text += f', {_rate(speed, self.unit)}'
            if self.total:
                text += f', {duration(max(self.total - self.done, 0) / speed)} left'
        return text


class Bars:
    """Several bars below each other: ``with Bars() as bars: bar = bars.add('occlusion', 5000)``.

    Nothing runs beside the caller (no thread): a process may be forked while bars are shown.

    Args:
        stream: where they go.
        every: seconds between the lines about one piece of work where there is no terminal; work
            that is quicker gets none.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        every: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream or sys.stdout
        self._every, self._clock = every, clock
        self._last: dict[int, float] = {}
        self._drawn = 0.0
        self._live: Progress | None = None
        console = Console(file=self._stream)
        if console.is_terminal and not console.is_dumb_terminal:
            self._live = Progress(
                TextColumn('{task.description}'),
                BarColumn(bar_width=24),
                TextColumn('{task.percentage:>3.0f} %'),
                _Rate(),
                TimeRemainingColumn(compact=True),
                console=console,
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
                transient=True,
            )

    def __enter__(self) -> Bars:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def say(self, line: str) -> None:
        """A line of its own, above the bars."""
        line = printable(line, '\n\t')
        if self._live:
            self._live.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=self._stream, flush=True)

    def add(self, name: str, total: int | None, unit: str = 'images') -> Bar:
        """Watch a piece of work of ``total`` steps (None: unknown)."""
        bar = Bar(self, name, total, unit, started=self._clock())
        if self._live:
            bar.handle = self._live.add_task(name, total=total, unit=unit)
            self._live.refresh()
        self._last[id(bar)] = bar.started
        return bar

    def counter(self, name: str, unit: str) -> Callable[[int, int], None]:
        """A bar that is told how many of how many are done, and comes when it first is."""
        bar = None

        def told(done: int, total: int) -> None:
            nonlocal bar
            bar = bar or self.add(name, total, unit)
            bar.at(done)

        return told

    def restarted(self, bar: Bar) -> None:
        """Count a bar's rate from now on."""
        bar.started = self._clock()
        if self._live:
            self._live.reset(bar.handle, completed=bar.done)
            self._live.refresh()

    def moved(self, bar: Bar) -> None:
        """Show where a bar is, if it is time to."""
        now = self._clock()
        if self._live:
            self._live.update(bar.handle, completed=bar.done)
            self._draw(now)
        elif now - self._last[id(bar)] >= self._every:
            self._last[id(bar)] = now
            self.say(bar.line(now))

    def _draw(self, now: float) -> None:
        if self._live and now - self._drawn >= _EVERY:
            self._drawn = now
            self._live.refresh()

    def ended(self, bar: Bar) -> None:
        """Take a bar away."""
        self._last.pop(id(bar), None)
        if self._live:
            self._live.remove_task(bar.handle)


def _rate(speed: float | None, unit: str) -> str:
    if not speed:
        return ''
    return f'{speed:,.0f} {unit}/s' if speed >= 10 else f'{speed:.2g} {unit}/s'


def duration(seconds: float) -> str:
    """``45 s``, ``3 min 5 s`` or ``2 h 10 min``."""
    seconds = round(seconds)
    if seconds < 60:
        return f'{seconds} s'
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f'{minutes} min {rest} s'
    return f'{minutes // 60} h {minutes % 60} min'
