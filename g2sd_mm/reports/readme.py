"""Keep tables and pictures of README.md and docs/ equal to the results that they come from.

``python -m g2sd_mm.reports.readme`` rewrites them; a test compares.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..project import project_folder
from ..reproduce.run import read_results
from .bars import bars
from .speed_table import speed_table
from .summary import summarise, verdicts
from .table import markdown_table

_SECTION = re.compile(
    r'(?P<start><!-- results: (?P<file>\S+) -->\n).*?(?P<end><!-- end of results -->)', re.DOTALL
)
_SPEED = re.compile(
    r'(?P<start><!-- speed: (?P<files>\S+(?: \S+)*) -->\n).*?(?P<end><!-- end of speed -->)',
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
        lines = summarise(read_results(root / section['file'])['rows'])
        sentences = '\n'.join(f'- {sentence}' for sentence in verdicts(lines))
        return f'{section["start"]}{markdown_table(lines)}\n\n{sentences}\n{section["end"]}'

    def fill_speed(section: re.Match[str]) -> str:
        table = speed_table([root / file for file in section['files'].split()])
        return f'{section["start"]}{table}\n{section["end"]}'

    return _SPEED.sub(fill_speed, _SECTION.sub(fill, text))


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
        named = {root / section['file'] for section in _SECTION.finditer(text)}
        if named or _SPEED.search(text):
            files[page] = with_results(text, root)
        for results in named:
            files[results.with_suffix('.svg')] = bars(summarise(read_results(results)['rows']))
    return files


if __name__ == '__main__':
    for path, content in from_results(project_folder()).items():
        path.write_text(content)
