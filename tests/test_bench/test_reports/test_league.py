"""The league table: all rows of a task, their differences to G2SD, and what they use."""

from __future__ import annotations

import pytest

from g2sd_mm.bench.reports.league import league, league_tables, to_reference
from g2sd_mm.bench.reports.page import render, show
from g2sd_mm.bench.reports.summary import summarise, t_quantile
from g2sd_mm.tasks import TASKS

from .test_html import results
from .test_summary import row


def rows(**values):
    """``g2sd=(1.0, 2.0)`` -> rows by seed; names with a trailing underscore are other systems."""
    return [
        {
            **row(name.rstrip('_'), value, seed=seed), 'student': 'vits',
            **({'table': 'baselines'} if name.endswith('_') else {}),
        }
        for name, figures in values.items()
        for seed, value in enumerate(figures)
    ]  # fmt: skip


THREE = rows(g2sd=(80.0, 81.0, 82.0), scratch=(50.0, 50.0, 50.0), mkd_=(81.0, 83.0, 82.0))
USE = dict(
    task='cls', student='vits', method='mkd', table='baselines', setting='', labels=True,
    teachers=['vitb_cls'], labelled=19.84, unlabelled=0.0, images=79360, extra_params_m=0.25,
)  # fmt: skip


def test_the_best_is_first_and_failures_are_last():
    failed = [{**row('nkd', 0.0), 'table': 'baselines', 'student': 'vits', 'error': 'no memory'}]
    lines = league(summarise([*THREE, *failed]))
    assert [line.method for line in lines] == ['mkd', 'g2sd', 'scratch', 'nkd']


def test_differences_are_paired_to_g2sd_of_the_main_table():
    lines = summarise(THREE)
    by_method = {line.method: line for line in lines}
    found = to_reference(by_method['mkd'], lines)
    # differences 1, 2 and 0: deviation 1
    assert (found.mean, found.seeds) == (1.0, 3)
    assert found.half_width == pytest.approx(t_quantile(2) / 3**0.5)
    assert to_reference(by_method['g2sd'], lines) is None
    assert to_reference(by_method['mkd'], [by_method['mkd']]) is None


def test_the_table_prints_figures_and_budgets():
    heading, table, note = league_tables(summarise(THREE), [USE])
    assert heading.text == TASKS['cls'].title
    first = dict(zip(table.header, table.rows[0], strict=True))
    assert first['method'] == 'mkd' and first['top1'] == '82.00 ± 1.00'
    half = t_quantile(2) / 3**0.5
    assert first['- g2sd'] == '+1.00'
    assert first['95 % interval'] == f'{1 - half:+.2f} to {1 + half:+.2f}'
    assert (first['seeds'], first['labels'], first['teachers']) == ('3', 'yes', 'vitb_cls')
    assert (first['passes with labels'], first['passes without']) == ('19.84', '0')
    assert first['extra params'] == '0.25 M' and first['total'].endswith(' s')
    second = dict(zip(table.header, table.rows[1], strict=True))
    assert (second['method'], second['- g2sd'], second['labels']) == ('g2sd', '', '')
    assert 'paired by seed' in note.text


def test_a_report_without_other_systems_has_no_league():
    assert list(league_tables(summarise(rows(g2sd=(80.0,))))) == []


def test_the_page_has_it_once(tmp_path):
    page = render({**results(*THREE), 'uses': [USE]}, tmp_path)
    assert 'id="league"' in page and 'Other rows: baselines' not in page
    assert '<td>19.84</td>' in page
    assert 'id="league"' not in render(results(row('g2sd', 80.0)), tmp_path)
    assert show(league_tables(summarise(THREE))).count('<table') == 1
