"""The league table: all rows of a task, their differences to G2SD, and what they use."""

from __future__ import annotations

import pytest

from g2sd_mm.bench.reports.blocks import Figure, Table
from g2sd_mm.bench.reports.league import league, league_tables, to_reference
from g2sd_mm.bench.reports.page import render, show
from g2sd_mm.bench.reports.plots import front
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


def test_seeds_that_are_not_paired_are_told():
    lines = rows(g2sd=(90.0, 91.0), deit_=(80.0, 81.0, 60.0))
    _, table, _ = league_tables(summarise(lines))
    seeds = {line[0]: line[table.header.index('seeds')] for line in table.rows}
    assert seeds == {'g2sd': '2', 'deit': '3 (2 paired)'}


def test_a_teacher_of_two_students_is_compared_with_neither():
    other = [{**row('g2sd', 70.0), 'student': 'vitt'}]
    lines = summarise([*rows(teacher=(95.0,), g2sd=(90.0,)), *other])
    assert to_reference(lines[0], lines) is None
    assert to_reference(lines[0], lines[:2]).mean == 5.0


def test_the_table_prints_figures_and_budgets():
    heading, table, note = league_tables(summarise(THREE), [USE])
    assert heading.text.startswith(TASKS['cls'].title)
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


COUNTED = [
    {**USE, 'method': method, 'table': table, 'pflop': pflop, 'teachers_pflop': 0.0}
    for method, table, pflop in (
        ('mkd', 'baselines', 3.0), ('g2sd', 'main', 2.0), ('scratch', 'main', 1.0)
    )
]  # fmt: skip


def test_figures_are_set_against_arithmetic_where_it_was_counted():
    blocks = list(league_tables(summarise(THREE), COUNTED))
    (drawing,) = [block for block in blocks if isinstance(block, Figure)]
    assert all(f'>{name}<' in drawing.svg for name in ('mkd', 'g2sd', 'scratch', 'PFLOP'))
    fewer = league_tables(summarise(THREE), COUNTED[:2])  # two points are no picture
    assert not any(isinstance(block, Figure) for block in fewer)


@pytest.mark.parametrize('less_is_better', [False, True])
def test_the_front_is_what_nothing_beats_at_its_cost(less_is_better):
    sign = -1 if less_is_better else 1
    points = [(3.0, 9.0), (1.0, 5.0), (2.0, 4.0), (2.0, 7.0), (4.0, 9.0), (0.5, 5.0)]
    found = front([(cost, sign * value) for cost, value in points], less_is_better)
    assert found == [(0.5, sign * 5.0), (2.0, sign * 7.0), (3.0, sign * 9.0)]


def test_rows_with_less_arithmetic_have_a_table_of_their_own():
    cheaper = [
        {**row('g2sd', 79.0, seed=0), 'student': 'vits', 'table': 'cheaper', 'setting': 'int8'}
    ]
    blocks = list(league_tables(summarise([*THREE, *cheaper])))
    other, less = [block for block in blocks if isinstance(block, Table)]
    assert [cells[0] for cells in other.rows] == ['mkd', 'g2sd', 'scratch']
    assert [cells[0] for cells in less.rows] == ['g2sd', 'g2sd int8', 'scratch']
    assert less.rows[1][2] == '-1.00'


def test_a_report_without_other_systems_has_no_league():
    assert list(league_tables(summarise(rows(g2sd=(80.0,))))) == []


def test_the_page_has_it_once(tmp_path):
    page = render({**results(*THREE), 'uses': [USE]}, tmp_path)
    assert 'id="league"' in page and 'Other rows: baselines' not in page
    assert '<td>19.84</td>' in page
    assert 'id="league"' not in render(results(row('g2sd', 80.0)), tmp_path)
    assert show(league_tables(summarise(THREE))).count('<table') == 1
