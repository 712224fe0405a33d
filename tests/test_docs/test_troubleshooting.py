"""Every line that the page on troubleshooting quotes is one that the code can print."""

from __future__ import annotations

import ast
import re

import pytest

from ..helpers.toys import ROOT

PAGE = (ROOT / 'docs' / 'troubleshooting.md').read_text()
# first cells of tables; a line without code marks tells of something that is no message
QUOTED = re.findall(r'^\| `([^|]+)` \|', PAGE, re.MULTILINE)
_PLACE = re.compile(r'<[^<>]+>')


def messages() -> list[str]:
    """Every text of the package, with the values that it is formatted with as ``\\0``."""
    found = []
    for path in (ROOT / 'g2sd_mm').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                found.append(''.join(
                    str(part.value) if isinstance(part, ast.Constant) else '\0'
                    for part in node.values
                ))
    return found


@pytest.fixture(scope='module')
def printed() -> str:
    return '\1'.join(messages())


def pattern(quoted: str) -> str:
    # without the places at either end, where anything may stand: a search would try all of it
    literal = [re.escape(part) for part in _PLACE.split(quoted) if part]
    return '[^\\1]*?'.join(literal)


def test_the_page_quotes_many():
    assert len(QUOTED) > 30


@pytest.mark.parametrize('quoted', QUOTED)
def test_a_quoted_line_is_in_the_code(quoted, printed):
    assert re.search(pattern(quoted), printed), quoted


def test_a_line_that_nobody_prints_is_found_out(printed):
    assert not re.search(pattern('<file> is haunted: call <somebody>'), printed)
