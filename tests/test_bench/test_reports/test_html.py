"""The page shows everything, escapes what it shows, and loads nothing from elsewhere."""

from __future__ import annotations

import json
import re

import pytest

from g2sd_mm.bench.reports.page import render

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


def test_names_of_classes_runs_and_files_are_escaped(folder):
    """A class is a folder's name, and pictures and runs are named by what somebody called them."""
    name = '<script>alert(1)<'  # a file's name has no slash
    truth = folder / 'pictures' / 'seg' / 'truth'
    truth.mkdir(parents=True)
    (truth / f'{name}">.jpg').write_bytes(b'x')
    known = {'colours': {name: f'red">{name}'}, 'present': [name]}
    (truth / 'colours.json').write_text(json.dumps(known))
    (folder / 'pictures' / name).mkdir()
    scalars(folder / 'seed0' / name, '20260101_000000', *[
        {'loss': 1.0 / step, 'iter': step, 'step': step} for step in (1, 2)
    ])  # fmt: skip
    page = render(results(row('g2sd', 60.0)), folder)
    assert '<script' not in page
    assert 'alt="ground truth: &lt;script&gt;alert(1)&lt;&#34;&gt;"' in page
    assert page.count('&lt;script&gt;') >= 4  # picture, legend and its colour, curve


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
    assert 'Learning curves' not in page


def test_sections_are_there_if_they_have_content_and_the_index_names_them(folder):
    page = render(results(row('teacher', 80.0), row('g2sd', 60.0)), folder)
    linked = re.findall(r'<a href="#(\w+)">', page)
    assert linked == re.findall(r'<section id="(\w+)">', page)
    assert linked == ['short', 'results', 'order', 'curves', 'method', 'runs', 'made']


def test_pictures_and_analyses_may_lie_in_another_folder(folder, tmp_path_factory):
    """As for a record, which has rows alone."""
    record = tmp_path_factory.mktemp('record')
    page = render(results(row('teacher', 80.0)), record, folder)
    assert 'vitb_mae' in page
    assert render(results(row('teacher', 80.0)), record).count('<svg') == 0


def test_it_opens_with_what_the_student_keeps_and_a_chart_with_intervals(folder):
    rows = [dict(row(method, value + seed, seed=seed), params_m=size, milliseconds=ms)
            for method, value, size, ms in (('teacher', 80.0, 4.0, 20.0), ('g2sd', 60.0, 1.0, 5.0),
                                            ('g2sd_nosd', 58.0, 1.0, 5.0)) for seed in (0, 1)]
    page = render(results(*rows), folder)
    first = page[page.index('<section'):page.index('</section>')]
    assert 'g2sd keeps 75.2 % of its teacher (top1 60.5 of 80.5 %)' in first
    assert '25 % of the parameters' in first
    assert '25 % of the time (5.0 of 20.0 ms an image)' in first
    assert '+2.0 against its plain twin (± 0.0, 95 % interval)' in first
    assert first.count('<svg') == 1 and 'with its 95 % interval' in first


def test_a_smoke_run_judges_nothing(folder):
    found = results(row('teacher', 80.0), row('g2sd', 60.0))
    page = render({**found, 'suite': f'{found["suite"]}_smoke'}, folder)
    assert 'keeps' not in page and 'id="short"' not in page and 'id="order"' not in page
    assert 'id="results"' in page


def test_the_head_says_what_is_in_the_page(folder):
    found = results(row('teacher', 80.0), row('teacher', None, seed=1),
                    environment={'cpu': 'EPYC', 'commit': 'abc', 'gpu': None})
    head = '2 rows · seeds 0, 1 · 1 failed · commit abc · EPYC'
    assert f'>{head}' in render(found, folder)
    assert f'>on flowers · {head}' in render({**found, 'data': 'flowers'}, folder)


def test_a_note_stands_at_the_top(folder):
    found = results(row('teacher', 80.0), note='Its figures <mean> nothing.')
    page = render(found, folder)
    note = '<p class="bad">Its figures &lt;mean&gt; nothing.</p>'
    assert page.index(note) < page.index('<nav>')
    assert 'class="bad"' not in render(results(row('teacher', 80.0)), folder)


def test_the_page_says_how_its_parts_were_made(folder):
    ways = [
        {'command': f'run {seed}', 'jobs': 2, 'rows': 1,
         'environment': {'cpu': 'EPYC', 'commit': commit}}
        for seed, commit in ((0, 'abc'), (1, 'def'))
    ]  # fmt: skip
    page = render(results(row('teacher', 80.0), made=ways), folder)
    assert '<pre>run 0\nrun 1</pre>' in page
    assert 'commits abc, def' in page and 'Evaluated at commit abc, def.' in page
    assert page.count('EPYC') == 1


def test_recipe_and_test_data_are_told_where_they_matter(folder):
    few = dict(row('g2sd', 40.0), table='labels', setting='10 %', data='configs/t.py')
    page = render(results(row('teacher', 80.0), few, recipe='NKD & no token', tested='On T.'),
                  folder)
    texts = ('id="results"', 'On T.', 'id="method"', 'NKD &amp; no token')
    places = [page.index(text) for text in texts]
    assert places == sorted(places)
    assert '<td>g2sd labels 10 %</td>' in page and '<td>configs/t.py</td>' in page
    assert '<td>its validation set</td>' in page


def test_sentences_in_tables_wrap_and_figures_do_not(folder):
    """So that what is behind them stays within the width of a screen."""
    why = 'needs vitb_mae, which failed: the disk is full & nothing is left'
    failed = {k: v for k, v in row('g2sd', 1.0).items() if k != 'metrics'} | {'error': why}
    page = render(results(row('teacher', 80.0), failed), folder)
    said = f'failed: {why}'.replace('&', '&amp;')
    assert f'<td><span class="long">{said}</span></td>' in page
    assert '<td>80.00</td>' in page


def test_screens_paper_and_darkness_are_thought_of(folder):
    page = render(results(row('teacher', 80.0)), folder)
    for text in ('name="viewport"', '@media print', 'prefers-color-scheme: dark', 'max-width: 40'):
        assert text in page


def test_a_figure_that_is_no_number_is_shown_as_such(folder):
    """One of them, in a row or along the way, does not take the whole page away."""
    nan = float('nan')
    scalars(folder / 'seed0' / 'c', '20260101_000000', {'loss': nan, 'lr': 0.1, 'iter': 1},
            {'loss': float('inf'), 'iter': 2}, {'accuracy/top1': nan, 'step': 2})
    page = render(
        results(row('teacher', 80.0), row('teacher', 82.0, 1), row('g2sd', nan),
                row('g2sd', 60.0, 1), row('scratch', nan)),
        folder,
    )
    assert page.count('<td>not a number</td>') >= 2  # seed by seed, and scratch in the table
    assert 'top1 not a number' in page
    assert '60.00 (1 of 2 seeds, 1 not a number)' in page
    assert '<p class="bad">cls: top1 of g2sd is not a number in seed 0' in page
    assert '>nan' not in page
