"""Keep the results tables of README.md equal to the files that they come from.

``python -m g2sd_mm.reports.readme`` rewrites them; a test compares.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..reproduce.run import read_results
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

    def fill(section: re.Match) -> str:
        lines = summarise(read_results(root / section['file'])['rows'])
        sentences = '\n'.join(f'- {sentence}' for sentence in verdicts(lines))
        return f'{section["start"]}{markdown_table(lines)}\n\n{sentences}\n{section["end"]}'

    return _SECTION.sub(fill, text)


if __name__ == '__main__':
    readme = Path(__file__).resolve().parents[2] / 'README.md'
    readme.write_text(with_results(readme.read_text(), readme.parent))
