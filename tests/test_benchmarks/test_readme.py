"""Tables and pictures of README.md and docs/ come from files under docs/results."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.readme import pages, with_results
from g2sd_mm.errors import UserError

from ..helpers.toys import ROOT

#: What every row has.
COMMON = dict(task='cls', student='vits', config='c', params_m=1.0, gflops=0.5, train_seconds=10.0,
              total_seconds=12.0)  # fmt: skip
MARKED = 'before\n<!-- results: r.json -->\nold\n<!-- end of results -->\nafter\n'


def write_results(folder: Path) -> None:
    row = {**COMMON, 'method': 'teacher', 'seed': 0, 'metrics': {'top1': 80.0}}
    (folder / 'r.json').write_text(json.dumps({'suite': 'demo', 'rows': [row]}))


def test_pages_and_pictures_are_what_the_results_say():
    files = pages(ROOT)
    assert {'README.md', 'start.md', 'results.svg'} <= {path.name for path in files}
    made = re.compile(r'Matplotlib v[\d.]+')
    for path, content in files.items():
        there = path.read_text()
        if made.findall(there) == made.findall(content):  # each version places labels its own way
            assert there == content, 'run: python -m benchmarks.readme'


def test_a_marked_section_is_filled_and_the_rest_is_kept(tmp_path):
    write_results(tmp_path)
    filled = with_results(MARKED, tmp_path)
    assert 'old' not in filled and '| cls | teacher | top1 | 80.00 | 100.0 % |' in filled
    assert filled.startswith('before\n') and filled.endswith('after\n')
    assert with_results(filled, tmp_path) == filled


def test_a_missing_results_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r'^no .*r\.json'):
        with_results(MARKED, tmp_path)


def test_a_league_is_shown_with_what_its_rows_use(tmp_path):
    rows = [
        {**COMMON, 'method': method, 'seed': seed, 'metrics': {'top1': value}, 'table': table}
        for method, table, values in (('g2sd', 'main', (80, 81)), ('mkd', 'baselines', (82, 84)))
        for seed, value in enumerate(values)
    ]
    (tmp_path / 'r.json').write_text(json.dumps({'suite': 'league', 'rows': rows}))
    text = with_results('<!-- league: r.json -->\n<!-- end of league -->\n', tmp_path)
    header, _, first, second = [line for line in text.splitlines() if line.startswith('|')]
    assert header.startswith('| method | top1 | - g2sd | 95 % interval | seeds |')
    assert first.startswith('| mkd | 83.00 ± 1.41 | +2.50 |')
    assert second.startswith('| g2sd | 80.50 ± 0.71 |')


def test_rows_with_less_arithmetic_are_shown_alone(tmp_path):
    found = (('main', '', 80.0), ('baselines', '', 82.0), ('cheaper', 'fast', 81.0))
    rows = [
        {**COMMON, 'method': 'mkd' if table == 'baselines' else 'g2sd', 'seed': 0,
         'metrics': {'top1': value}, 'table': table, 'setting': setting}
        for table, setting, value in found
    ]  # fmt: skip
    (tmp_path / 'r.json').write_text(json.dumps({'suite': 'league', 'rows': rows}))
    text = with_results('<!-- cheaper: r.json -->\n<!-- end of cheaper -->\n', tmp_path)
    header, _, first, second = [line for line in text.splitlines() if line.startswith('|')]
    assert header.endswith('| PFLOP | of teachers | own time | total |')
    assert 'fast' in first and '81.00' in first and '80.00' in second
    assert '82.00' not in text
