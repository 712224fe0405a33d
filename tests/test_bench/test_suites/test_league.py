"""The league: the mini suite's rows and baselines from given teachers, equally long."""

from __future__ import annotations

from pathlib import Path

import pytest

from g2sd_mm.bench.results import BASELINES, CHEAPER
from g2sd_mm.bench.suites.budget import raw_config, work_of
from g2sd_mm.bench.suites.catalogue import LEAGUE, MINI
from g2sd_mm.bench.suites.plan import with_given_files
from g2sd_mm.bench.suites.suites import PAPER_TASKS


def works(names):
    steps = (LEAGUE.step(name) for name in names)
    return [work_of(raw_config(step.config, step.options)).updates for step in steps]


def test_it_has_the_rows_of_the_mini_suite():
    for table in ('main', BASELINES):
        rows = MINI.select(task=PAPER_TASKS, table=[table])
        assert LEAGUE.select(table=[table]) == [row for row in rows if not row.probe]
    assert CHEAPER not in {row.table for row in LEAGUE.select()}
    assert {row.task for row in LEAGUE.select(table=[CHEAPER])} == {'cls'}


@pytest.mark.parametrize('task', PAPER_TASKS)
def test_students_of_a_task_are_trained_equally_long(task):
    rows = [row for row in LEAGUE.select(task=[task]) if row.method != 'teacher']
    *parts, usual = works(['vits_tinybert_task', 'vits_tinybert_cls', 'g2sd_vits_cls'])
    assert sum(parts) == usual
    lengths = works(row.step for row in rows if row.method != 'tinybert')
    assert len(set(lengths)) == 1


def test_what_is_trained_without_labels_is_equally_long():
    names = ('g2sd_vits_generic', 'vits_mae', 'vits_tinybert', 'vits_sami', 'vits_proteus')
    assert len(set(works(names))) == 1
    low, finish, whole = works(
        ['g2sd_vits_generic_low', 'g2sd_vits_generic_low_finish', 'g2sd_vits_generic']
    )
    assert low + finish == whole


def test_its_teachers_are_files_of_the_project():
    suite = with_given_files(LEAGUE, LEAGUE.rows)
    given = {step.name for step in suite.steps if step.file}
    assert given == {'vitb_mae', 'vitb_cls', 'vitb_maskrcnn', 'vitb_upernet'}
    assert all(Path(step.file).is_file() for step in suite.steps if step.file)


def test_the_fast_recipe_has_no_stage_1_and_half_of_stage_2():
    (row,) = (row for row in LEAGUE.rows if row.setting == 'fast')
    assert LEAGUE.step(row.step).needs == ('vitb_cls',)
    fast, usual = works([row.step, 'g2sd_plus_vits_cls'])
    assert 2 * fast == usual
