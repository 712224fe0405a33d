"""The documentation names what the tables say, and the figures of the record."""

from __future__ import annotations

import json
import re

import pytest

from g2sd_mm.checkpoints.layouts import LAYOUTS

from ..helpers.toys import ROOT

TEXT = (ROOT / 'docs' / 'checkpoints.md').read_text()


def row(name: str) -> list[str]:
    (line,) = (line for line in TEXT.splitlines() if line.startswith(f'| `{name}` |'))
    return [cell.strip() for cell in line.strip('|').split('|')]


@pytest.mark.parametrize('layout', LAYOUTS.values(), ids=LAYOUTS)
def test_what_a_layout_leaves_out_is_documented(layout):
    _, _, cannot_hold, not_weights = row(layout.name)
    assert tuple(re.findall('`(.*?)`', cannot_hold)) == layout.cannot_hold
    assert tuple(re.findall('`(.*?)`', not_weights)) == layout.not_weights


def test_the_figures_are_those_of_the_record():
    record = json.loads((ROOT / 'docs' / 'results' / 'loading' / 'results.json').read_text())
    rows = re.findall(r'\| (\d+) MiB \| ([\d.]+) x \|', TEXT)
    measured = [(f'{f["file"] / 2**20:.0f}', f'{f["ratio"]:.2f}') for f in record['figures']]
    assert rows == measured
