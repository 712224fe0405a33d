"""The documentation site: its parts that can go wrong without being built."""

from __future__ import annotations

import re
from fnmatch import fnmatch

import pytest

from ..helpers.toys import ROOT

DOCS = ROOT / 'docs'
PAGES = [*sorted(ROOT.glob('*.md')), *sorted(DOCS.rglob('*.md'))]
_LINK = re.compile(r'\]\((?!https?:|#)([^)#\s]+)')


def test_every_page_is_in_the_navigation():
    index = (DOCS / 'index.md').read_text()
    trees = re.findall(r'```\{toctree\}\n(.*?)```', index, re.DOTALL)
    named = {line for tree in trees for line in tree.splitlines() if line and line[0] != ':'}
    pages = {
        path.relative_to(DOCS).with_suffix('').as_posix()
        for path in (*DOCS.rglob('*.md'), *DOCS.rglob('*.ipynb'))
        if 'api' not in path.relative_to(DOCS).parts
    }
    lost = {page for page in pages if not any(fnmatch(page, name) for name in named)}
    assert lost == {'index'}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    for target in _LINK.findall(page.read_text()):
        if not target.startswith('api/'):  # generated
            assert (page.parent / target).exists(), target


def test_formulas_become_mathml():
    pytest.importorskip('latex2mathml')
    from latex2mathml.converter import convert

    formulas = re.findall(r'\$\$ (.*?) \$\$', (DOCS / 'method.md').read_text())
    assert len(formulas) >= 8
    for formula in formulas:
        assert '<math' in convert(formula) and 'merror' not in convert(formula)
