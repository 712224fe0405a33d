"""What a suite trains, and in which order."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from g2sd_mm.bench.suites.budget import raw_config
from g2sd_mm.bench.suites.catalogue import DEMO, SUITES
from g2sd_mm.bench.suites.plan import with_given_files
from g2sd_mm.bench.suites.suites import Row, Step, Suite
from g2sd_mm.errors import UserError
from g2sd_mm.tasks import TASKS

from ...helpers.toys import ROOT, words

SUITE = Suite(
    name='toy',
    steps=(
        Step('configs/vita.py'), Step('configs/vitb.py', needs=('vita',)),
        Step('configs/vitc.py', needs=('vita', 'vitb')), Step('configs/vitd.py'),
    ),
    rows=(
        Row('cls', 'g2sd', 'vitc'), Row('cls', 'scratch', 'vitd'),
        Row('det', 'g2sd', 'vitb', table='loss'),
    ),
)


def test_a_steps_name_is_its_configs():
    assert Step('configs/shapes/vitb_cls.py').name == 'vitb_cls'


def test_a_chain_has_prerequisites_first_and_each_once():
    assert SUITE.chain('vitc') == ['vita', 'vitb', 'vitc']
    assert SUITE.chain('vitd') == ['vitd']


def test_steps_that_rows_share_are_run_once():
    assert [step.name for step in SUITE.steps_of(SUITE.rows)] == ['vita', 'vitb', 'vitc', 'vitd']
    assert [step.name for step in SUITE.steps_of([SUITE.rows[1]])] == ['vitd']


def test_rows_are_selected_by_task_and_method():
    assert SUITE.select() == list(SUITE.rows)
    assert SUITE.select(task=['cls'], method=['g2sd']) == [SUITE.rows[0]]
    assert SUITE.select(task=['det']) == [SUITE.rows[2]]
    assert SUITE.select(method=['g2sd']) == [SUITE.rows[0], SUITE.rows[2]]
    assert SUITE.select(student=['vitc', 'vitd'], table=['main']) == list(SUITE.rows[:2])


def test_a_task_on_request_is_run_only_if_it_is_named():
    suite = replace(SUITE, on_request=('det',))
    assert suite.select() == list(suite.usual_rows) == list(SUITE.rows[:2])
    assert suite.select(method=['g2sd']) == [SUITE.rows[0]]
    assert suite.select(task=['cls', 'det']) == list(SUITE.rows)
    mini = SUITES['mini']
    assert {row.task for row in mini.select()} == {'cls', 'det', 'seg'}
    asked = mini.select(task=['depth'])
    assert {'teacher', 'scratch', 'g2sd_nosd', 'g2sd'} <= {row.method for row in asked}


def test_values_that_no_row_has_together_are_refused():
    with pytest.raises(UserError, match=r'--tasks det .*--rows scratch'):
        SUITE.select(task=['det'], method=['scratch'])


def test_unknown_tasks_and_methods_are_told_the_known_ones():
    with pytest.raises(UserError, match=words('--tasks pose', 'toy suite has cls, det')):
        SUITE.select(task=['cls', 'pose'])
    with pytest.raises(UserError, match=words('--rows kd', 'toy suite has g2sd, scratch')):
        SUITE.select(method=['kd'])
    with pytest.raises(UserError, match=words('--tables x', 'toy suite has loss, main')):
        SUITE.select(table=['x'])


@pytest.mark.parametrize('suite', SUITES.values(), ids=lambda suite: suite.name)
def test_every_suite_is_whole(suite):
    """Configs exist, and every step and row names steps of the suite."""
    names = {step.name for step in suite.steps}
    assert len(names) == len(suite.steps)
    for step in suite.steps:
        assert (ROOT / step.config).is_file()
        assert set(step.needs) <= names
    assert {row.step for row in suite.rows} <= names
    assert len(set(suite.rows)) == len(suite.rows)
    lines = {(r.table, r.task, r.student, r.method, r.setting) for r in suite.rows}
    assert len(lines) == len(suite.rows)
    used = {step.name for step in suite.steps_of(suite.rows)}
    assert used == names, 'steps that no row needs'
    for row in suite.rows:
        assert not row.data or (ROOT / row.data).is_file()


@pytest.mark.parametrize('suite', SUITES.values(), ids=lambda suite: suite.name)
def test_what_a_config_loads_is_what_its_step_needs(suite):
    """Each ``work_dirs/NAME/weights.pth`` in a config is a step that is run before."""
    for step in suite.steps:
        text = str(raw_config(str(ROOT / step.config), step.options).to_dict())
        loaded = set(re.findall(r'work_dirs/(\w+)/', text))
        assert loaded == set(step.needs), step.name


def test_the_demo_has_the_rows_that_its_claims_need():
    for task in TASKS:
        methods = {row.method for row in DEMO.select(task=[task])}
        assert methods == {'teacher', 'scratch', 'g2sd_nosd', 'g2sd'}


def test_the_demos_teachers_are_given_and_its_students_are_trained():
    suite = with_given_files(DEMO, DEMO.rows)
    given = {step.name for step in suite.steps if step.file}
    assert given == {'vitb_mae', 'vitb_cls', 'vitb_maskrcnn', 'vitb_upernet', 'vitb_depth'}
    assert all(Path(step.file).is_file() for step in suite.steps if step.file)
    assert not any(suite.step(name).needs for name in given)
    assert all(name in suite.note for name in given) and suite.given in suite.note
    assert not any(step.file for step in DEMO.steps)


def test_only_what_rows_need_is_said_to_be_given():
    suite = with_given_files(DEMO, DEMO.select(task=['cls'], method=['g2sd']))
    assert 'vitb_cls' in suite.note and 'vitb_maskrcnn' not in suite.note
    assert with_given_files(DEMO, DEMO.select(method=['scratch'])) is DEMO  # needs none of them
    assert with_given_files(SUITE, SUITE.rows) is SUITE


def test_a_student_is_what_the_step_says():
    students = [Row('cls', 'g2sd', name).student for name in ('vitb_cls', 'g2sd_vitt_cls_nosd')]
    assert students == ['vitb', 'vitt']


def test_several_steps_may_have_one_config():
    assert Step('configs/a.py', label='other').name == 'other'


def test_steps_are_replaced_everywhere_at_once():
    changed = SUITE.with_steps(lambda step: replace(step, needs=()))
    assert changed.chain('vitc') == ['vitc']
    assert changed.rows == SUITE.rows
