"""Keep tables and pictures of README.md and docs/ equal to the results that they come from.

``python -m g2sd_mm.bench.reports.readme`` rewrites them; a test compares.
"""

from __future__ import annotations

import re
from pathlib import Path

from ...config.project import project_folder
from ..results import read_results
from .bars import bars
from .speed_table import speed_table
from .summary import summarise, verdicts
from .table import markdown_table

_SECTION = re.compile(
    r'(?P<start><!-- (?P<kind>results|speed): (?P<files>\S+(?: \S+)*) -->\n).*?'
    r'(?P<end><!-- end of (?P=kind) -->)',
    re.DOTALL,
)


def with_results(text: str, root: Path) -> str:
    """``text`` with every marked section filled from the files that it names.

    Args:
        text: Markdown with ``<!-- results: FILE -->`` ... ``<!-- end of results -->`` for a
            ``results.json``, or ``<!-- speed: FILES -->`` ... ``<!-- end of speed -->`` for what
            ``tools/benchmark.py`` wrote.
        root: folder that FILE is relative to.

    Raises:
        UserError: if a named file is missing or not of its kind.
    """

    def fill(section: re.Match[str]) -> str:
        files = [root / file for file in section['files'].split()]
        made = speed_table(files) if section['kind'] == 'speed' else _results(*files)
        return f'{section["start"]}{made}\n{section["end"]}'

    return _SECTION.sub(fill, text)


def _results(file: Path) -> str:
    """Table and sentences of a ``results.json``."""
    lines = summarise(read_results(file)['rows'])
    sentences = '\n'.join(f'- {sentence}' for sentence in verdicts(lines))
    return f'{markdown_table(lines)}\n\n{sentences}'


def from_results(root: Path) -> dict[Path, str]:
    """Every file of a checkout that shows results, with what it should hold.

    The pages with marked sections, and a picture beside each file of results that they name.

    Args:
        root: the checkout.

    Raises:
        UserError: see :func:`with_results`.
    """
    files: dict[Path, str] = {}
    for page in (root / 'README.md', *sorted((root / 'docs').glob('*.md'))):
        text = page.read_text()
        sections = list(_SECTION.finditer(text))
        if sections:
            files[page] = with_results(text, root)
        for results in {root / s['files'] for s in sections if s['kind'] == 'results'}:
            files[results.with_suffix('.svg')] = bars(summarise(read_results(results)['rows']))
    return files


if __name__ == '__main__':
    for path, content in from_results(project_folder()).items():
        path.write_text(content)
