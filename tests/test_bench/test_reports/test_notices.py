"""What stands above the figures."""

from __future__ import annotations

from g2sd_mm.bench.reports.page import notices


def test_whole_results_need_no_notice():
    assert notices({'rows': [{}], 'missing': [], 'left_out': []}) == []
    assert notices({'rows': [{}]}) == []


def test_note_missing_rows_and_left_out_files_are_told():
    told = notices({'note': 'Mind.', 'rows': [{}] * 2, 'missing': ['seg g2sd seed 1'],
                    'left_out': ['a.json', 'b.json']})
    assert told[:2] == ['Mind.', '1 of 3 rows are missing: seg g2sd seed 1.']
    assert told[2].startswith('2 kept rows') and told[2].endswith('left out: a.json, b.json.')


def test_long_lists_are_cut():
    (told,) = notices({'rows': [], 'missing': [f'r{i}' for i in range(9)]})
    assert told == '9 of 9 rows are missing: r0, r1, r2, r3, r4, r5 and 3 more.'


def test_licences_that_are_not_free_are_told_once():
    rows = [{'licences': {'hiera': 'cc-by-nc-4.0', 'dino': 'apache-2.0'}}] * 2
    (told,) = notices({'rows': rows})
    assert 'hiera' in told and 'cc-by-nc-4.0' in told and 'commercial' in told
