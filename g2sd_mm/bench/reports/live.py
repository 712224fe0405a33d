"""A page on runs that are under way: how far, curves, speed, memory, last predictions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ...engine.hooks.console import LAST_PREDICTIONS, PROGRESS, progress_line
from ...errors import UserError
from ...progress import duration
from ...tasks import TASKS
from ...whole_files import page_bytes
from ..logs import Curve, curve, read_progress, read_scalars
from .blocks import Block, Cell, Grid, Paragraph, Section, Table
from .page import page
from .plots import curve_figures

_DEPTH = 3  # folders below the one that is watched: seed0/vitb_cls of a suite's
_QUIET = 120.0  # seconds without a word after which a run may have ended
_GOING = 'under way'
_SHOWN = 6  # runs with curves; of others a line


def live_page(folder: Path, refresh: int = 5) -> str:
    """The page as text, with nothing loaded from elsewhere; newest runs first.

    Args:
        folder: a work dir, or one that has work dirs.
        refresh: seconds after which a browser asks anew; 0 for never.
    """
    runs = runs_below(folder)
    sections = [
        Section(f'run{i}', str(run.relative_to(folder)) if run != folder else run.name,
                list(_run(run, state, i < _SHOWN)))
        for i, (run, state) in enumerate(runs)
    ]  # fmt: skip
    going = sum(_where(state) == _GOING for _, state in runs)
    subtitle = f'{len(runs)} runs, {going} under way, at {time.strftime("%H:%M:%S")}'
    notes = [] if runs else [f'no run has begun in {folder} yet']
    return page(folder.name or str(folder), subtitle, notes, sections, refresh)


def runs_below(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Work dirs with how far their runs are, the newest first."""
    found = []
    for depth in range(_DEPTH + 1):
        for file in folder.glob('*/' * depth + PROGRESS):
            if state := read_progress(file.parent):
                found.append((file.parent, state))
    return sorted(found, key=lambda run: -run[1]['time'])


def _where(state: Mapping[str, Any]) -> str:
    age = time.time() - state['time']
    if state['step'] >= state['steps'] or state.get('seconds_left') == 0:  # stopped early
        return 'finished'
    return _GOING if age < _QUIET else f'nothing heard for {duration(age)}: it may have been ended'


def _run(run: Path, state: Mapping[str, Any], whole: bool) -> Iterator[Block]:
    where = _where(state)
    yield Paragraph(f'{where}: {progress_line(state)}', '' if where == _GOING else 'note')
    if not whole:
        return
    entries = read_scalars(run)
    task = next((task for task in TASKS.values()
                 if any(task.metrics[0].logged in entry for entry in entries)), None)  # fmt: skip
    way = curve(task.key if task else '', run.name, 0, entries)
    yield Table(*_figures(state, way))
    if way.loss:
        yield from curve_figures([way])
    pictures = sorted((run / LAST_PREDICTIONS).glob('*.jpg'))
    if pictures:
        yield Paragraph('Predictions of the last validation.', 'note')
        yield Grid([('', [Cell(picture)]) for picture in pictures])


def _figures(
    state: Mapping[str, Any], way: Curve
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    known = {
        'loss': way.loss and f'{way.loss[-1][1]:.4g}',
        'last metric': way.metric and f'{way.metric[-1][1]:.2f}',
        'images/s': state.get('images_per_second') and f'{state["images_per_second"]:,.0f}',
        'data wait': state.get('data_wait') is not None and f'{state["data_wait"]:.0%}',
        'memory': state.get('memory') and f'{state["memory"] / 1e9:.2f} GB',
        'left': state.get('seconds_left') and duration(state['seconds_left']),
    }
    shown = {name: str(value) for name, value in known.items() if value}
    return tuple(shown), [tuple(shown.values())]


def serve(folder: Path, port: int, refresh: int = 5) -> ThreadingHTTPServer:
    """A server of the page on this machine alone; ``serve_forever`` starts it.

    Args:
        folder: that is watched.
        port: 0 for any that is free.
        refresh: seconds between two looks of a browser.

    Raises:
        UserError: if the port is taken, or is none.
    """

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # another name for this machine is a page elsewhere that asks through the browser
            host = (self.headers.get('Host') or '').partition(':')[0]
            if self.path != '/' or host not in ('127.0.0.1', 'localhost'):
                self.send_error(404)
                return
            content = page_bytes(live_page(folder, refresh))
            self.send_response(200)
            self.send_header('Content-Type', 'text/html; charset=utf-8')
            self.send_header('Content-Length', str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            """Requests are of no interest."""

    try:
        return ThreadingHTTPServer(('127.0.0.1', port), Page)
    except (OSError, OverflowError) as error:
        raise UserError(
            f'--port {port} cannot be used ({error}): give another, 0 for any that is free'
        ) from error
