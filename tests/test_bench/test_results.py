"""A results.json that is damaged, or of somebody else, is named with what is wrong in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from g2sd_mm.bench.reports.page import render
from g2sd_mm.bench.results import read_results
from g2sd_mm.errors import UserError

ROW = {
    'task': 'cls', 'method': 'g2sd', 'student': 'vits', 'seed': 0, 'config': 'configs/x.py',
    'params_m': 0.2, 'gflops': None, 'train_seconds': 1.0, 'total_seconds': 2.0,
    'metrics': {'top1': 50.0},
}  # fmt: skip


def written(folder: Path, *rows: Any, **changes: Any) -> Path:
    path = folder / 'results.json'
    path.write_text(json.dumps({'suite': 'demo', 'rows': rows, **changes}))
    return path


@pytest.mark.parametrize('row', [
    ROW, {**ROW, 'metrics': {'top1': float('nan')}}, {**ROW, 'dataset': None},
    {**{key: ROW[key] for key in ('task', 'method', 'seed', 'config')}, 'error': 'memory'},
])  # fmt: skip
def test_rows_of_suites_are_taken(tmp_path, row):
    page = render(read_results(written(tmp_path, row, {**row, 'seed': 1})))
    assert '2 rows' in page  # also without the machine that they were made on


@pytest.mark.parametrize('key', [key for key in ROW if key != 'student'])
def test_a_row_without_what_tables_show_is_refused(tmp_path, key):
    row = {name: value for name, value in ROW.items() if name != key}
    with pytest.raises(UserError, match=rf'results\.json .*{key}'):
        read_results(written(tmp_path, row))


@pytest.mark.parametrize(('key', 'value'), [
    ('task', 'unknown'), ('task', []), ('seed', '0'), ('student', None), ('metrics', []),
    ('metrics', {'top5': 90.0}), ('train_seconds', None), ('params_m', '0.2'), ('data', 1),
])  # fmt: skip
def test_a_row_of_other_values_is_refused(tmp_path, key, value):
    with pytest.raises(UserError, match=rf'results\.json .*{key}'):
        read_results(written(tmp_path, {**ROW, key: value}))


def test_of_two_rows_that_are_the_same_none_is_chosen(tmp_path):
    twin = {**ROW, 'metrics': {'top1': 90.0}}
    with pytest.raises(UserError, match=r'results\.json .*two rows cls vits g2sd 0'):
        read_results(written(tmp_path, ROW, twin))
    assert read_results(written(tmp_path, ROW, {**twin, 'table': 'labels', 'setting': '10 %'}))


@pytest.mark.parametrize(('key', 'value'), [
    ('rows', None), ('suite', None), ('environment', []), ('uses', [{}]), ('uses', None),
    ('made', [None]), ('missing', [None]),
])  # fmt: skip
def test_other_parts_are_what_they_should_be(tmp_path, key, value):
    with pytest.raises(UserError, match=r'results\.json is not'):
        read_results(written(tmp_path, **{'rows': [ROW], key: value}))
