"""Keep tables and pictures of README.md and docs/ equal to the results that they come from.

``python -m g2sd_mm.reports.readme`` rewrites them; a test compares.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..project import project_folder
from ..reproduce.run import read_results
from .bars import bars
from .summary import summarise, verdicts
from .table import markdown_table

_SECTION = re.compile(
    r'(?P<start><!-- results: (?P<file>\S+) -->\n).*?(?P<end><!-- end of results -->)', re.DOTALL
)


def with_results(text: str, root: Path) -> str:
    """``text`` with every marked section filled from the ``results.json`` that it names.

    Args:
        text: Markdown with ``<!-- results: FILE -->`` ... ``<!-- end of results -->``.
        root: folder that FILE is relative to.

    Raises:
        UserError: if a named file is missing or not a results file.
    """

    def fill(section: re.Match[str]) -> str:
        lines = summarise(read_results(root / section['file'])['rows'])
        sentences = '\n'.join(f'- {sentence}' for sentence in verdicts(lines))
        return f'{section["start"]}{markdown_table(lines)}\n\n{sentences}\n{section["end"]}'

    return _SECTION.sub(fill, text)


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
        if named:
            files[page] = with_results(text, root)
        for results in named:
            files[results.with_suffix('.svg')] = bars(summarise(read_results(results)['rows']))
    return files


if __name__ == '__main__':
    for path, content in from_results(project_folder()).items():
        path.write_text(content)
