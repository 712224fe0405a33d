"""Claims of the paper's order: which are asked, and what is said of them."""

from __future__ import annotations

import pytest

from g2sd_mm.bench.reports.page import show
from g2sd_mm.bench.reports.summary import differences, summarise
from g2sd_mm.bench.reports.tables import (
    claim_cells,
    label_table,
    order_table,
    result_tables,
    seed_table,
)

from .test_summary import row, rows


def claims(*found) -> dict[str, object]:
    return {f'{d.ahead} > {d.behind}': d for d in differences(summarise(*found))}


def test_every_claim_with_both_rows_is_asked():
    found = claims(rows(teacher=(80.0,), g2sd=(70.0,), g2sd_nosd=(65.0,), scratch=(50.0,)))
    assert list(found) == ['teacher > g2sd', 'g2sd > g2sd_nosd', 'g2sd > scratch',
                           'g2sd_nosd > scratch']
    assert found['g2sd > scratch'].mean == pytest.approx(20)


@pytest.mark.parametrize(
    ('g2sd', 'verdict'),
    [
        ((61.0, 63.0, 65.0),
         'holds; more than a standard error, 95 % interval includes zero'),
        ((61.0, 62.0, 63.1), 'holds; 95 % interval excludes zero'),
        ((60.9, 59.0, 63.4), 'holds on average, within one standard error: undecided'),
        ((58.0, 59.0, 60.1), 'does not hold; 95 % interval excludes zero'),
    ],
)
def test_verdicts_follow_the_paired_differences(g2sd, verdict):
    found = claims(rows(g2sd=g2sd, g2sd_nosd=(60.0, 61.0, 62.0)))
    assert found['g2sd > g2sd_nosd'].verdict == verdict


@pytest.mark.parametrize(('g2sd', 'word'), [(10.0, 'holds'), (20.0, 'does not hold')])
def test_a_claim_about_errors_holds_if_they_are_smaller(g2sd, word):
    lines = summarise([row('g2sd', g2sd, task='depth'), row('scratch', 15.0, task='depth')])
    (found,) = differences(lines)
    assert found.verdict.startswith(f'{word} in one seed')
    assert 'g2sd &lt; scratch' in show(order_table(lines))
    assert 'paper' not in show(result_tables(lines, 'mini')).split('<p')[0]


def test_one_seed_decides_nothing():
    found = claims(rows(g2sd=(70.0,), scratch=(75.0,)))['g2sd > scratch']
    assert found.verdict == 'does not hold in one seed: more seeds tell whether that is chance'
    assert claim_cells(found)[2:5] == ('-5.00', '', '1')


def test_tasks_and_failed_rows_are_kept_apart():
    lines = summarise([
        row('g2sd', 70.0), row('scratch', None), row('g2sd', 30.0, task='det'),
        row('scratch', 20.0, task='det'),
    ])
    (found,) = differences(lines)
    assert (found.task, found.mean) == ('det', 10.0)
    assert 'g2sd &gt; scratch' in show(order_table(lines))
    assert show(order_table([])) == ''


def test_results_stand_task_by_task_beside_the_papers_share():
    lines = summarise([row('teacher', 80.0), row('g2sd', 60.0), row('g2sd', 30.0, task='det')])
    page = show(result_tables(lines, 'mini'))
    assert page.count('<table>') == 2
    assert '<h3>Classification</h3>' in page and '<h3>Detection</h3>' in page
    assert '98.7 % of teacher' in page and '98.1 % of teacher' in page


def test_figures_of_other_data_are_not_headed_as_if_they_were_of_these():
    part = dict(row('g2sd', 40.0), table='decoder', setting='dec128d2b')
    lines = summarise([row('g2sd', 60.0), row('g2sd', 30.0, task='det'),
                       row('g2sd', 30.0, task='seg'), part])
    mini, paper = (show(result_tables(lines, suite)) for suite in ('mini', 'paper'))
    for heading in ('paper (ImageNet)', 'paper (COCO)', 'paper (ADE20K)'):
        assert mini.count(f'<th>{heading}</th>') == 1 and heading not in paper
    assert 'published</th>' not in mini and paper.count('<th>published</th>') == 4
    assert 'is no comparison' in mini and 'is no comparison' not in paper
    for page, columns in ((mini, (9, 9, 9, 8)), (paper, (9, 9, 9, 9))):
        for part_, number in zip(page.split('<table>')[1:], columns, strict=True):
            assert part_.count('<th>') == part_.count('<td>') == number


def test_seeds_are_shown_one_by_one():
    assert show(seed_table(summarise(rows(g2sd=(70.0,))))) == ''
    page = show(seed_table(summarise(rows(g2sd=(70.0, None, 71.5), scratch=(50.0,)))))
    assert '<th>seed 2</th>' in page
    assert '<td>70.00</td><td></td><td>71.50</td>' not in page  # seed 1 failed in all rows
    assert '<td>70.00</td><td>71.50</td>' in page


def test_part_of_the_labels_stands_beside_all():
    part = dict(row('g2sd', 40.0), table='labels', setting='10 %')
    lines = summarise([row('g2sd', 60.0), part, dict(row('scratch', 20.0), table='labels',
                                                     setting='10 %')])
    page = show(label_table(lines))
    assert '<th>10 %</th><th>100 %</th>' in page
    assert '<td>40.00</td><td>60.00</td>' in page
    assert '<td>20.00</td><td></td>' in page  # scratch on all labels was not run
    taught = show(label_table(summarise([row('teacher', 80.0), row('g2sd', 60.0), part])))
    assert '<td>40.00 (50.0 %)</td><td>60.00 (75.0 %)</td>' in taught
    assert 'g2sd labels 10 % &gt; scratch labels 10 %' in page and '+20.00' in page
    assert 'labels 10 %' not in show(order_table(lines))
    assert show(label_table(summarise([row('g2sd', 60.0)]))) == ''
    assert 'labels' not in show(result_tables(lines, 'mini')).replace('labelled', '')
