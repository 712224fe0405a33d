"""Keep tables and pictures of README.md and docs/ equal to the results that they come from.

``python -m benchmarks.readme`` rewrites them; a test compares.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from .bars import bars
from .results import read_results
from .summary import summarise, verdicts
from .table import markdown_table

#: A Markdown table of some files.
Table = Callable[[list[Path]], str]

_SECTION = re.compile(
    r'(?P<start><!-- (?P<kind>results|speed): (?P<files>\S+(?: \S+)*) -->\n).*?'
    r'(?P<end><!-- end of (?P=kind) -->)',
    re.DOTALL,
)


def with_results(text: str, root: Path, speed_table: Table | None = None) -> str:
    """``text`` with every marked section filled from the files that it names.

    Args:
        text: Markdown with ``<!-- results: FILE -->`` ... ``<!-- end of results -->`` for a
            ``results.json``, or ``<!-- speed: FILES -->`` ... ``<!-- end of speed -->`` for what
            ``tools/benchmark.py`` wrote.
        root: folder that FILE is relative to.
        speed_table: makes the table of the latter; without it they stay as they are.

    Raises:
        UserError: if a named file is missing or not of its kind.
    """

    def fill(section: re.Match[str]) -> str:
        files = [root / file for file in section['files'].split()]
        if section['kind'] == 'results':
            made = _results(*files)
        elif speed_table:
            made = speed_table(files)
        else:
            return section[0]
        return f'{section["start"]}{made}\n{section["end"]}'

    return _SECTION.sub(fill, text)


def _results(file: Path) -> str:
    """Table and sentences of a ``results.json``."""
    lines = summarise(read_results(file)['rows'])
    sentences = '\n'.join(f'- {sentence}' for sentence in verdicts(lines))
    return f'{markdown_table(lines)}\n\n{sentences}'


def from_results(root: Path, speed_table: Table | None = None) -> dict[Path, str]:
    """Every file of a checkout that shows results, with what it should hold.

    The pages with marked sections, and a picture beside each file of results that they name.

    Args:
        root: the checkout.
        speed_table: see :func:`with_results`.

    Raises:
        UserError: see :func:`with_results`.
    """
    files: dict[Path, str] = {}
    for page in (root / 'README.md', *sorted((root / 'docs').glob('*.md'))):
        text = page.read_text()
        sections = list(_SECTION.finditer(text))
        if sections:
            files[page] = with_results(text, root, speed_table)
        for results in {root / s['files'] for s in sections if s['kind'] == 'results'}:
            files[results.with_suffix('.svg')] = bars(summarise(read_results(results)['rows']))
    return files
