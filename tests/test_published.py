"""Published figures: each has a source or a reason, and no row of the paper suite is forgotten."""

from __future__ import annotations

import pytest

from benchmarks.readme import markdown_table
from g2sd_mm.bench.reports.summary import summarise
from g2sd_mm.bench.reports.tables import text_table
from g2sd_mm.bench.suites.paper import PAPER
from g2sd_mm.published import Figure, content, published
from g2sd_mm.tasks import TASKS


def as_line(row) -> dict:
    names = ('task', 'student', 'method', 'table', 'setting')
    return {name: getattr(row, name) for name in names}


@pytest.mark.parametrize('row', PAPER.rows, ids=lambda row: f'{row.table}-{row.step}')
def test_every_row_of_the_suite_is_spoken_for(row):
    figure = published(as_line(row), row.metric or TASKS[row.task].headline)
    assert figure is not None
    known = figure.value is not None or figure.of_teacher is not None
    assert bool(figure.source) == known
    assert known or figure.why
    assert figure.value is not None or figure.why, 'a gap has a reason'


def test_detection_has_masks_too():
    for row in PAPER.select(task=['det'], table=['main']):
        assert published(as_line(row), 'segm_mAP') is not None


def test_entries_are_of_rows_that_exist():
    lines = [as_line(row) for row in PAPER.rows]
    for entry in content()['rows']:
        where = {k: v for k, v in {'table': 'main', **entry}.items() if k in lines[0]}
        assert any(where.items() <= line.items() for line in lines), entry


def test_everything_else_has_a_source():
    known = content()
    for entry in (*known['progress'], *known['others']):
        assert entry['source'] and isinstance(entry['value'], float)
    assert known['alexnet_corruption_errors']['source']
    assert len(known['alexnet_corruption_errors']['values']) == 15


def test_the_papers_claims_are_of_its_small_student():
    claims = {
        entry['task']: entry['of_teacher'] for entry in content()['rows'] if 'of_teacher' in entry
    }
    assert claims == {'cls': 98.7, 'det': 98.1, 'seg': 99.3}


def test_a_row_that_the_releases_readers_quote():
    row = dict(task='seg', student='vitt', method='g2sd_nosd')
    figure = published(row, 'mIoU')
    assert figure.value == 41.4 and 'issue 2' in figure.source


def test_how_a_figure_is_shown():
    assert str(Figure(value=83.6)) == '83.6'
    assert str(Figure(of_teacher=98.7)) == '98.7 % of teacher'
    assert str(Figure(why='unread')) == ''


def test_tables_of_the_paper_suite_show_them_beside_ours():
    def line(method: str, student: str, value: float, **more) -> dict:
        return dict(task='cls', method=method, student=student, seed=0, metrics={'top1': value},
                    params_m=None, gflops=None, train_seconds=1.0, total_seconds=1.0, **more)

    rows = [line('teacher', 'vitb', 80.0), line('g2sd', 'vits', 76.0), line('g2sd', 'vitt', 60.0),
            line('g2sd_nosd', 'vits', 40.0, table='mask', setting='mask50'),
            line('teacher', 'vitb', 20.0, table='robustness', setting='imagenet_a'),
            line('g2sd', 'vits', 10.0, table='robustness', setting='imagenet_a')]
    table = text_table(summarise(rows, 'paper')).splitlines()
    assert 'published' in table[0]
    assert '83.6' in table[1] and 'g2sd vits  ' in table[2] and '98.7 % of teacher' in table[2]
    assert 'g2sd vitt' in table[3] and '75.0 %' in table[3]
    assert 'g2sd_nosd vits mask mask50' in table[4] and '50.0 %' in table[4]
    assert 'g2sd vits robustness imagenet_a' in table[6] and '50.0 %' in table[6]
    assert 'published' not in markdown_table(summarise(rows, 'demo'))
