"""Every block of README.md and docs/ that is marked runnable runs, in an empty folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..helpers.doc_blocks import blocks_of, is_slow, new_folder, run_blocks
from ..helpers.toys import ROOT

PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
MARKED = {page: blocks for page in PAGES if (blocks := blocks_of(page.read_text()))}


def pages(slow: bool) -> list:
    return [
        pytest.param(page, id=str(page.relative_to(ROOT)))
        for page, blocks in MARKED.items()
        if is_slow(blocks) is slow
    ]


def run(page: Path, folder: Path) -> None:
    run_blocks(MARKED[page], new_folder(folder))


@pytest.mark.parametrize('page', pages(slow=False))
def test_page_runs(page, tmp_path):
    run(page, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('page', pages(slow=True))
def test_slow_page_runs(page, tmp_path):
    run(page, tmp_path)


def test_the_worked_examples_are_run():
    names = {page.name for page in MARKED}
    assert {
        'start.md', 'own_images.md', 'own_coco.md', 'own_masks.md', 'own_depth.md',
        'architecture.md', 'commands.md',
    } <= names
