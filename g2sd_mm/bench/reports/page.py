"""One self-contained HTML page for a results folder; ``page.html.j2`` says how it looks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jinja2

from ...distill.teachers.licences import licence_warning
from ...text import some
from ..logs import SHAPES, curves
from ..results import ways
from .analyses import analysis_commands, analysis_parts, reconstruction_sentence
from .blocks import Block, Bullets, Code, Paragraph, Section, Table, data_uri
from .league import league_tables
from .pictures import method_picture, prediction_grids, reconstruction_grid
from .plots import curve_figures, task_charts
from .summary import Line, headlines, orders, shown, summarise, undefined_figures
from .tables import label_table, order_table, published_elsewhere, result_tables, seed_table

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader('g2sd_mm.bench.reports', '.'),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
)
_TEMPLATES.filters['data_uri'] = data_uri

_T = TypeVar('_T')

#: How the names of suites end that are cut to a few updates.
SMOKE = '_smoke'
_NAMED = 6  # longer lists of rows are cut

# (name, title) of the sections, in the page's order
_TITLES = {
    'short': 'In short',
    'predictions': 'Predictions',
    'results': 'Results',
    'order': 'Does the order hold?',
    'league': 'Beside other systems',
    'labels': 'Fewer labels',
    'elsewhere': 'Published elsewhere',
    'curves': 'Learning curves',
    'reconstructions': 'Masked reconstructions',
    'analyses': 'Analyses',
    'method': 'The method',
    'runs': 'Runs',
    'made': 'Made with',
}


def render(results: dict[str, Any], *folders: Path) -> str:
    """The page as text; everything that is shown is escaped, nothing is loaded from elsewhere.

    A section without content is left out: pictures, curves and analyses are made by the runs, and
    may not be there.

    Args:
        results: content of ``results.json``.
        folders: where logs (``seed<N>`` or ``rows``), ``pictures`` and ``analysis`` may lie; what
            the first has counts.
    """
    lines = summarise(results['rows'], results['suite'])
    sections = [
        Section(name, _TITLES[name], list(blocks))
        for name, blocks in _contents(results, lines, folders)
    ]
    notes = [*notices(results), *undefined_figures(lines)]
    return page(results['suite'], _subtitle(results), notes, sections)


def page(
    title: str,
    subtitle: str,
    notes: Sequence[str],
    sections: Iterable[Section],
    refresh: int = 0,
) -> str:
    """A page of sections; those without content are left out.

    Args:
        title, subtitle, notes: its head.
        sections: its body.
        refresh: seconds after which a browser asks anew; 0 for never.
    """
    return _TEMPLATES.get_template('page.html.j2').render(
        refresh=refresh,
        suite=title,
        subtitle=subtitle,
        notices=notes,
        sections=[section for section in sections if section.blocks],
    )


def show(blocks: Iterable[Block]) -> str:
    """Blocks as HTML."""
    macros: Any = _TEMPLATES.get_template('blocks.html.j2').module
    return ''.join(macros.show(block) for block in blocks)


def notices(results: dict[str, Any]) -> list[str]:
    """The suite's note, rows that are missing, files of rows that were left out, and licences.

    Args:
        results: content of ``results.json``.
    """
    missing, left_out = results.get('missing', ()), results.get('left_out', ())
    found = [results['note']] if results.get('note') else []
    if missing:
        whole = len(missing) + len(results['rows'])
        found.append(f'{len(missing)} of {whole} rows are missing: {some(missing, _NAMED)}.')
    if left_out:
        found.append(
            f'{len(left_out)} kept rows are of another configuration than the suite now has, and '
            f'left out: {some(left_out, _NAMED)}.'
        )
    return [*found, *_licences(results['rows'])]


def _licences(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Of teachers whose licences are not free for every use, with what that means."""
    licences = {n: str(v) for row in rows for n, v in (row.get('licences') or {}).items()}
    for name, licence in licences.items():
        if warning := licence_warning(licence):
            yield f'Students of these tables learned from {name}: {warning}.'


def _contents(
    results: dict[str, Any], lines: Sequence[Line], folders: tuple[Path, ...]
) -> Iterator[tuple[str, Iterable[Block]]]:
    rows, source = results['rows'], results.get('data', SHAPES)
    judged = not results['suite'].endswith(SMOKE)  # a few updates judge nothing
    said = headlines(lines)
    order = orders(lines) if judged else []
    yield 'short', [*([Bullets(said)] if said else []), *task_charts(lines)] if judged else []
    yield 'predictions', _first(folders, lambda folder: prediction_grids(folder / 'pictures'))
    tables = result_tables(lines, results['suite'])
    yield 'results', [*_told(results.get('tested')), *tables, *seed_table(lines)]
    yield 'order', [Bullets(order), *order_table(lines)] if order else []
    yield 'league', league_tables(lines, results.get('uses', ()))
    yield 'labels', label_table(lines)
    yield 'elsewhere', published_elsewhere() if results['suite'] == 'paper' else ()
    yield 'curves', _first(folders, lambda folder: curve_figures(curves(folder, rows, source)))
    yield 'reconstructions', _first(folders, _reconstructions)
    yield 'analyses', _first(folders, lambda folder: analysis_parts(folder / 'analysis'))
    yield 'method', [method_picture(), *_told(results.get('recipe'))]
    yield 'runs', [Table(_RUNS, [_run_cells(row) for row in rows])]
    analyses = _first(folders, lambda folder: analysis_commands(folder / 'analysis'))
    yield 'made', [*_made(results), *map(Code, dict.fromkeys(analyses))]


def _told(text: str | None) -> list[Block]:
    return [Paragraph(text)] if text else []


def _environment(way: Mapping[str, Any]) -> Mapping[str, Any]:
    return way.get('environment') or {}


def _made(results: dict[str, Any]) -> Iterator[Block]:
    """The commands of each environment, and below them the environment with its commits."""
    commands: dict[str, list[str]] = {}
    commits: dict[str, list[str]] = {}
    for way in ways(results):
        environment = dict(_environment(way))
        commit = environment.pop('commit', None)
        key = json.dumps(environment, indent=2)
        commands.setdefault(key, []).append(way.get('command') or '')
        commits.setdefault(key, []).append(str(commit))
    for key, typed in commands.items():
        yield Code('\n'.join(dict.fromkeys(typed)))
        yield Code(key)
        yield Paragraph(f'Evaluated at commit {", ".join(dict.fromkeys(commits[key]))}.', 'note')


def _first(folders: tuple[Path, ...], parts: Callable[[Path], Iterable[_T]]) -> list[_T]:
    """What the first folder gives that gives anything."""
    for folder in folders:
        if found := list(parts(folder)):
            return found
    return []


def _reconstructions(folder: Path) -> list[Block]:
    pictures = reconstruction_grid(folder / 'analysis' / 'reconstruction')
    if pictures is None:
        return []
    sentence = reconstruction_sentence(folder / 'analysis')
    how = (
        'The student predicts hidden features of the teacher\'s decoder; the teacher\'s remaining '
        'blocks turn them into pixels. Mean and contrast of each hidden patch are those of the '
        'image: the networks predict what is left.'
    )
    return [*_told(sentence), pictures, Paragraph(how, 'note')]


def _subtitle(results: dict[str, Any]) -> str:
    rows, made = results['rows'], _environment(results)
    seeds = sorted({row['seed'] for row in rows})
    failed = sum('error' in row for row in rows)
    known = (_environment(way).get('commit') for way in ways(results))
    commits = list(dict.fromkeys(commit for commit in known if commit))
    parts = [
        *([f'on {results["data"]}'] if results.get('data') else []),
        f'{len(rows)} rows',
        f'seed{"s" * (len(seeds) != 1)} {", ".join(map(str, seeds))}',
        *([f'{failed} failed'] if failed else []),
        *([f'commit{"s" * (len(commits) != 1)} {", ".join(commits)}'] if commits else []),
        *[name for name in (made.get('gpu') or made.get('cpu'),) if name],
    ]
    return ' · '.join(map(str, parts))


_RUNS = ('seed', 'task', 'method', 'config', 'trained on', 'tested on', 'metrics')


def _run_cells(row: dict[str, Any]) -> tuple[str, ...]:
    if 'error' in row:
        outcome = f'failed: {row["error"]}'
    else:
        outcome = ', '.join(f'{name} {shown(value)}' for name, value in row['metrics'].items())
    return (
        str(row['seed']),
        row['task'],
        ' '.join(filter(None, (row['method'], row.get('table'), row.get('setting')))),
        row['config'],
        row.get('dataset') or '',
        row.get('data') or 'its validation set',
        outcome,
    )
