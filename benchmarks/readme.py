"""Keep tables and pictures of README.md and docs/ equal to the results that they come from.

``python -m benchmarks.readme`` rewrites them; a test compares.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from g2sd_mm.bench.methods import METHODS
from g2sd_mm.bench.reports.blocks import Block, Figure, Heading, Table
from g2sd_mm.bench.reports.league import league_tables
from g2sd_mm.bench.reports.summary import Line, summarise, verdicts
from g2sd_mm.bench.reports.tables import table
from g2sd_mm.bench.results import BASELINES, CHEAPER, COMPARED, read_results
from g2sd_mm.tasks import TASKS

from .bars import bars
from .speed.stages import ROOT
from .speed.table import speed_table

#: Makes Markdown of some files.
Maker = Callable[[list[Path]], str]

_SECTION = re.compile(
    r'(?P<start><!-- (?P<kind>results|excerpt|league|cheaper|speed): '
    r'(?P<files>\S+(?: \S+)*) -->\n).*?'
    r'(?P<end><!-- end of (?P=kind) -->)',
    re.DOTALL,
)


def with_results(text: str, root: Path) -> str:
    """``text`` with every marked section filled from the files that it names.

    Args:
        text: Markdown with ``<!-- results: FILE -->`` ... ``<!-- end of results -->`` for a
            ``results.json``, ``<!-- excerpt: FILE -->`` for a line a task of its main rows,
            ``<!-- league: FILE -->`` for its league tables, ``<!-- cheaper: FILE -->`` for those of
            rows with less arithmetic, or ``<!-- speed: FILES -->`` for what ``tools/benchmark.py``
            wrote.
        root: folder that FILE is relative to.

    Raises:
        UserError: if a named file is missing or not of its kind.
    """

    def fill(section: re.Match[str]) -> str:
        files = [root / file for file in section['files'].split()]
        made = _KINDS[section['kind']](files)
        return f'{section["start"]}{made}\n{section["end"]}'

    return _SECTION.sub(fill, text)


def markdown_table(lines: Sequence[Line]) -> str:
    """A Markdown table."""
    header, *body = table(lines)
    rows = [header, tuple('---' for _ in header), *body]
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in rows)


def _results(files: list[Path]) -> str:
    """Table and sentences of a ``results.json``."""
    (file,) = files
    lines = summarise(read_results(file)['rows'])
    sentences = '\n'.join(f'- {sentence}' for sentence in verdicts(lines))
    return f'{markdown_table(lines)}\n\n{sentences}'


def _excerpt(files: list[Path]) -> str:
    """A line a task: the headline metric of the main rows, and the share of the teacher kept."""
    (file,) = files
    main = [line for line in summarise(read_results(file)['rows']) if line.table == 'main']
    names = [name for name in METHODS if any(line.method == name for line in main)]
    header = ['task', 'metric', *(METHODS[name].title for name in names), 'G2SD keeps']
    rows = [header, ['---'] * len(header)]
    for task in dict.fromkeys(line.task for line in main):
        found = {line.method: line for line in main if line.task == task}
        figures = [_figure(found.get(name)) for name in names]
        ours = found.get('g2sd')
        kept = f'{ours.retained:.1f} %' if ours and ours.retained is not None else ''
        rows.append([TASKS[task].name, TASKS[task].headline, *figures, kept])
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in rows)


#: Columns of a league table that are shown beside the method and its figure.
_LEAGUE = ('- g2sd', '95 % interval', 'seeds', 'labels', 'teachers', 'PFLOP', 'own time')
#: The same of rows with less arithmetic.
_CHEAPER = ('- g2sd', '95 % interval', 'seeds', 'PFLOP', 'of teachers', 'own time', 'total')


def _league(files: list[Path]) -> str:
    """The league tables of a ``results.json``, with fewer columns than its report has."""
    (file,) = files
    return _as_markdown(_blocks(file), _LEAGUE)


def _cheaper(files: list[Path]) -> str:
    """Those of rows with less arithmetic, with the columns that are about it."""
    (file,) = files
    return _as_markdown(_blocks(file, (CHEAPER,)), _CHEAPER)


def _blocks(file: Path, names: Sequence[str] = COMPARED) -> Iterator[Block]:
    results = read_results(file)
    return league_tables(summarise(results['rows']), results.get('uses', ()), names)


def _as_markdown(blocks: Iterable[Block], columns: Collection[str]) -> str:
    parts = []
    for block in blocks:
        if isinstance(block, Heading):
            parts.append(f'**{block.text}**')
        elif isinstance(block, Table):
            shown = [0, 1, *(i for i, name in enumerate(block.header) if name in columns)]
            rows = [block.header, ['---'] * len(block.header), *block.rows]
            lines = ('| ' + ' | '.join(row[i] for i in shown) + ' |' for row in rows)
            parts.append('\n'.join(lines))
    return '\n\n'.join(parts)


def _figure(line: Line | None) -> str:
    if line is None or line.mean is None:
        return ''
    return f'{line.mean:.1f}' + (f' ± {line.spread:.1f}' if line.spread is not None else '')


def with_figures(text: str, results: Path) -> str:
    """A page whose table has a line a method, with the fourth column filled from a league.

    Args:
        text: Markdown; lines of the table begin with the method in backquotes.
        results: ``results.json`` of the league.
    """
    lines = summarise(read_results(results)['rows'])

    def fill(line: str) -> str:
        if not (found := re.match(r'\| `(\w+)` \|', line)):
            return line
        own = [row for row in lines if row.method == found[1] and row.table == BASELINES]
        figures = [f'{TASKS[row.task].name} {_figure(row)}' for row in own if row.values]
        cells = line.split('|')
        cells[4] = f' {"; ".join(figures)} ' if figures else ' '
        return '|'.join(cells)

    return '\n'.join(map(fill, text.split('\n')))


_KINDS: dict[str, Maker] = {
    'results': _results, 'excerpt': _excerpt, 'league': _league, 'cheaper': _cheaper,
    'speed': speed_table,
}  # fmt: skip


def pages(root: Path = ROOT) -> dict[Path, str]:
    """Every file of a checkout that shows results, with what it should hold.

    The pages with marked sections, and a picture beside each file of results that they name.

    Args:
        root: the checkout.

    Raises:
        UserError: see :func:`with_results`.
    """
    files: dict[Path, str] = {}
    for page in (root / 'README.md', *sorted((root / 'docs').rglob('*.md'))):
        text = page.read_text()
        sections = list(_SECTION.finditer(text))
        if sections:
            files[page] = with_results(text, root)
        for section in sections:
            if section['kind'] == 'speed':
                continue
            results = root / section['files']
            if section['kind'] == 'cheaper':
                charts = (b for b in _blocks(results, (CHEAPER,)) if isinstance(b, Figure))
                files[results.with_name('cheaper.svg')] = next(charts).svg
            else:
                files[results.with_suffix('.svg')] = bars(summarise(read_results(results)['rows']))
    page, league = root / 'docs/baselines.md', root / 'docs/results/mini/league/results.json'
    files[page] = with_figures(files.get(page, page.read_text()), league)
    return files


if __name__ == '__main__':
    for path, content in pages().items():
        path.write_text(content)
