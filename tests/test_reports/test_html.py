"""The page shows everything, escapes what it shows, and loads nothing from elsewhere."""

from __future__ import annotations

import json
import re

import pytest

from g2sd_mm.reports.html import read_scalars, render

from .test_summary import row

NASTY = '<script>alert("x")</script>'


def results(*rows: dict, **changes) -> dict:
    command = 'python tools/reproduce.py --suite demo'
    environment = {'cpu': 'a & b'}
    known = {'suite': 'demo', 'command': command, 'environment': environment}
    return {**known, 'rows': list(rows), **changes}


def scalars(run, name: str, *lines: dict) -> None:
    folder = run / name / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text('\n'.join(json.dumps(line) for line in lines))


@pytest.fixture
def folder(tmp_path):
    scalars(tmp_path / 'seed0' / 'vitb_mae', '20260101_000000',
            *[{'loss': 1.0 / step, 'lr': 0.1, 'iter': step, 'step': step} for step in (1, 2, 3)])
    return tmp_path


def test_rows_verdicts_curves_and_environment_are_shown(folder):
    page = render(results(row('teacher', 80.0), row('g2sd', 60.0)), folder)
    for text in ('<td>g2sd</td>', '75.0 %', 'teacher 80.00 &gt; g2sd 60.00', 'top1 60.00',
                 'a &amp; b', 'python tools/reproduce.py --suite demo', '<svg', 'vitb_mae'):
        assert text in page, text
    assert page.startswith('<!doctype html>')


def test_failed_rows_are_shown_with_their_error(folder):
    page = render(results(row('teacher', None)), folder)
    assert 'failed: out of memory' in page


def test_names_are_escaped(folder):
    bad = dict(row('g2sd', 60.0), method=NASTY, config=NASTY, dataset=NASTY)
    failed = dict(row('scratch', None), error=NASTY)
    page = render(results(bad, failed, suite=NASTY, environment={NASTY: NASTY}), folder)
    assert '<script' not in page
    assert page.count('&lt;script&gt;') >= 6


def test_names_of_folders_and_files_are_escaped(folder):
    """A class is a folder's name, and pictures and runs are named by what somebody called them."""
    name = '<script>alert(1)<'  # a file's name has no slash
    for method in ('truth', name):
        (folder / 'pictures' / name / method).mkdir(parents=True)
        (folder / 'pictures' / name / method / f'{name}">.jpg').write_bytes(b'x')
    scalars(folder / 'seed0' / name, '20260101_000000', *[
        {'loss': 1.0 / step, 'iter': step, 'step': step} for step in (1, 2)
    ])  # fmt: skip
    page = render(results(row('g2sd', 60.0)), folder)
    assert '<script' not in page
    assert 'alt="&lt;script&gt;alert(1)&lt;&quot;&gt;"' in page
    assert page.count('&lt;script&gt;') >= 4


def test_nothing_is_loaded_from_elsewhere(folder):
    page = render(results(row('teacher', 80.0)), folder)
    loads = re.findall(r'(?:src|href)\s*=\s*"([^"]*)"|url\(([^)]*)\)|@import', page)
    assert all(''.join(place).startswith(('#', 'data:')) for place in loads), loads
    assert '<link' not in page
    assert '<script' not in page


def test_the_same_results_give_the_same_page(folder):
    pages = {render(results(row('teacher', 80.0)), folder) for _ in range(2)}
    assert len(pages) == 1


def test_a_folder_without_logs_has_no_curves(tmp_path):
    (tmp_path / 'seed0' / 'vitb_mae').mkdir(parents=True)
    page = render(results(row('teacher', 80.0)), tmp_path)
    assert '<svg' not in page


def test_curves_are_read_from_the_newest_log(tmp_path):
    run = tmp_path / 'run'
    assert read_scalars(run, 'loss') == []
    scalars(run, '20260101_000000', {'loss': 9.0, 'step': 1})
    scalars(run, '20260102_000000', {'loss': 2.0, 'iter': 7, 'step': 1}, {'lr': 0.1, 'step': 2},
            {'accuracy/top1': 5.0, 'step': 1}, {'loss': 1.0, 'step': 3})
    assert read_scalars(run, 'loss') == [(7, 2.0), (3, 1.0)]
