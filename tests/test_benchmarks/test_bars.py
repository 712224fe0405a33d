"""The picture of the results table."""

from __future__ import annotations

import re
from xml.dom import minidom

import pytest

from benchmarks.bars import bars
from g2sd_mm.bench.reports.summary import summarise

from ..test_bench.test_reports.test_summary import row, rows


def widths(svg: str) -> list[float]:
    return [float(width) for width in re.findall(r'width="([\d.]+)" height="16"', svg)]


def test_bars_are_as_long_as_the_values():
    svg = bars(summarise(rows(teacher=(80.0, 80.0), g2sd=(60.0, 20.0))))
    minidom.parseString(svg)
    teacher, g2sd = widths(svg)
    assert g2sd / teacher == pytest.approx(0.5, abs=0.01)
    assert '80.0' in svg and '40.0 ± 28.3' in svg and '(50 % of teacher)' in svg


def test_errors_have_bars_of_their_own_length():
    lines = [row('g2sd', 4.0, task='depth'), row('scratch', 8.0, task='depth'), row('g2sd', 50.0)]
    g2sd, scratch, other = widths(bars(summarise(lines)))
    assert g2sd == pytest.approx(scratch / 2, abs=0.1)
    assert scratch == pytest.approx(2 * other, abs=0.1)  # the whole width


def test_a_failed_row_has_no_bar_and_tasks_are_apart():
    lines = summarise([row('g2sd', 50.0), row('scratch', None), row('g2sd', 30.0, task='seg')])
    svg = bars(lines)
    assert len(widths(svg)) == 2
    assert 'cls, top1' in svg and 'seg, mIoU' in svg and 'scratch' not in svg


def test_long_names_have_room():
    name = 'single_stage'
    plain = [row(name, 50.0), row('g2sd', 100.0)]
    for lines, least in ((plain, 8 * len(name)), ([*plain, dict(
        row(name, 10.0), table='labels', setting='10 %')], 8 * len(f'{name} labels 10 %'))):
        svg = bars(summarise(lines))
        (left,) = set(re.findall(r'<rect x="(\d+)" y="\d+" width="[\d.]+" height="16"', svg))
        assert int(left) - 16 >= least
        assert int(re.search(r'viewBox="0 0 (\d+) ', svg)[1]) == int(left) + 440 + 230
        assert widths(svg)[1] == 440
