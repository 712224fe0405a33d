"""One self-contained HTML page for a results folder: table, verdicts, curves, environment."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .summary import summarise, verdicts
from .table import table

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #8885; }
th, td { text-align: left; white-space: nowrap; }
pre { overflow-x: auto; padding: .7rem; background: #8882; }
figure { margin: 1rem 0; background: #fff; }
td img { width: 15rem; height: auto; }
figure svg { max-width: 100%; height: auto; }
"""


def render(results: dict[str, Any], folder: Path) -> str:
    """The page as text; everything that is shown is escaped, nothing is loaded from elsewhere.

    Args:
        results: content of ``results.json``.
        folder: where the runs lie; their logged scalars are drawn if they are still there.
    """
    lines = summarise(results['rows'], results['suite'])
    header = ('task', 'method', 'metric', 'value', 'of teacher', 'params', 'GFLOPs')
    body = [
        f'<h1>g2sd_mm: {_e(results["suite"])}</h1>',
        _table(*_head_and_body(table(lines, (*header, 'own time', 'with what it needs')))),
        "<p>Own time: the row's last run. With what it needs: its pre-training and its teacher "
        'too. Both are the shortest of the seeds. All student rows have the same encoder, labelled '
        'data and labelled epochs.</p>',
        '<h2>What came out</h2>',
        _list(verdicts(lines)),
        *_pictures(folder / 'pictures'),
        '<h2>Curves</h2>',
        *_curves(folder),
        '<h2>Runs</h2>',
        _table(
            ('seed', 'task', 'method', 'config', 'data', 'metrics'),
            map(_run_cells, results['rows']),
        ),
        '<h2>Made with</h2>',
        f'<pre>{_e(results.get("command") or "")}</pre>',
        f'<pre>{_e(json.dumps(results["environment"], indent=2))}</pre>',
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>g2sd_mm {_e(results["suite"])}</title><style>{_STYLE}</style></head><body>'
        + '\n'.join(body)
        + '</body></html>\n'
    )


def _head_and_body(rows: list[tuple[str, ...]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    return rows[0], rows[1:]


def _run_cells(row: dict[str, Any]) -> tuple[str, ...]:
    if 'error' in row:
        outcome = f'failed: {row["error"]}'
    else:
        outcome = ', '.join(f'{name} {value:.2f}' for name, value in row['metrics'].items())
    return (
        str(row['seed']),
        row['task'],
        row['method'],
        row['config'],
        row.get('dataset') or '',
        outcome,
    )


_TITLES = {'det': 'Detection', 'seg': 'Segmentation'}


def _pictures(folder: Path) -> Iterable[str]:
    """A grid for each task: one column a method, the annotations first, one row an image."""
    for task in sorted(folder.glob('*')):
        methods = sorted(task.iterdir(), key=lambda path: (path.name != 'truth', path.name))
        columns = [sorted(method.glob('*.jpg')) for method in methods]
        yield f'<h2>{_e(_TITLES.get(task.name, task.name))}</h2><div class="wide"><table>'
        yield '<tr>' + ''.join(f'<th>{_e(method.name)}</th>' for method in methods) + '</tr>'
        for images in zip(*columns, strict=False):
            yield '<tr>' + ''.join(f'<td>{_embed(image)}</td>' for image in images) + '</tr>'
        yield '</table></div>'


def _embed(image: Path) -> str:
    data = base64.b64encode(image.read_bytes()).decode()
    return f'<img alt="{_e(image.stem)}" src="data:image/jpeg;base64,{data}">'


def _curves(folder: Path) -> Iterable[str]:
    """Training losses of every run below ``folder``, one picture for each seed."""
    for seed in sorted(folder.glob('seed*')):
        curves = {run.name: read_scalars(run, 'loss') for run in sorted(seed.iterdir())}
        curves = {name: points for name, points in curves.items() if points}
        if curves:
            yield f'<figure aria-label="training losses, {_e(seed.name)}">'
            yield _plot(curves, f'training loss, {seed.name}')
            yield '</figure>'


def read_scalars(run: Path, name: str) -> list[tuple[int, float]]:
    """(step, value) pairs of a scalar that a run's newest ``vis_data`` folder logged."""
    logs = sorted(run.glob('*/vis_data/scalars.json'))
    points = []
    for line in logs[-1].read_text().splitlines() if logs else ():
        entry = json.loads(line)
        if name in entry and 'step' in entry:
            points.append((int(entry.get('iter', entry['step'])), float(entry[name])))
    return points


def _plot(curves: dict[str, list[tuple[int, float]]], title: str) -> str:
    import matplotlib

    matplotlib.use('svg')
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4))
    for name, points in curves.items():
        axes.plot(*zip(*points, strict=True), label=name)
    axes.set(title=title, xlabel='step', ylabel='loss', yscale='log')
    axes.legend(fontsize=8)
    text = io.StringIO()
    # no date and no random names: the same results give the same file
    with matplotlib.rc_context({'svg.hashsalt': title}):
        figure.savefig(text, format='svg', metadata={'Date': None}, bbox_inches='tight')
    pyplot.close(figure)
    svg = text.getvalue()
    return svg[svg.index('<svg') :]


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = ''.join(f'<th>{_e(cell)}</th>' for cell in header)
    body = ''.join('<tr>' + ''.join(f'<td>{_e(c)}</td>' for c in row) + '</tr>' for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _list(items: Iterable[str]) -> str:
    return '<ul>' + ''.join(f'<li>{_e(item)}</li>' for item in items) + '</ul>'


def _e(text: str) -> str:
    return html.escape(text)
