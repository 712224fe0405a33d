"""What others published stands in the paper suite's report, and in no other."""

from __future__ import annotations

from g2sd_mm.bench.reports.page import render, show
from g2sd_mm.bench.reports.tables import published_elsewhere
from g2sd_mm.published import content

from .test_html import results
from .test_summary import row


def test_every_figure_of_the_file_is_shown_with_its_source():
    page = show(published_elsewhere())
    known = content()
    for entry in (*known['others'], *known['progress']):
        assert f'<td>{entry["value"]:g}</td>' in page, entry
        assert entry['source'] in page
    shown = page.count('<td>') - page.count('<td></td>')
    networks = {(e['method'], e['student'], e['source']) for e in known['others']}
    assert shown == 3 * len(networks) + len(known['others']) + 4 * len(known['progress'])
    minis = '<td>D-MAE-Lite</td><td>ViT-Ti</td><td>78.4</td>' + 6 * '<td></td>'
    assert minis in page


def test_only_the_report_of_the_papers_rows_has_them(tmp_path):
    for suite in ('demo', 'mini', 'paper'):
        page = render(results(row('teacher', 80.0), suite=suite), tmp_path)
        assert ('id="elsewhere"' in page) == ('TinyMIM' in page) == (suite == 'paper')
