"""What a suite trains, and in which order."""

from __future__ import annotations

import pytest

from g2sd_mm.errors import UserError
from g2sd_mm.reproduce.suites import DEMO, SUITES, Row, Step, Suite

from ..toys import ROOT, words

SUITE = Suite(
    name='toy',
    steps=(
        Step('configs/a.py'), Step('configs/b.py', needs=('a',)),
        Step('configs/c.py', needs=('a', 'b')), Step('configs/d.py'),
    ),
    rows=(Row('cls', 'g2sd', 'c'), Row('cls', 'scratch', 'd'), Row('det', 'g2sd', 'b')),
)


def test_a_steps_name_is_its_configs():
    assert Step('configs/shapes/vitb_cls.py').name == 'vitb_cls'


def test_a_chain_has_prerequisites_first_and_each_once():
    assert SUITE.chain('c') == ['a', 'b', 'c']
    assert SUITE.chain('d') == ['d']


def test_steps_that_rows_share_are_run_once():
    assert [step.name for step in SUITE.steps_of(SUITE.rows)] == ['a', 'b', 'c', 'd']
    assert [step.name for step in SUITE.steps_of([SUITE.rows[1]])] == ['d']


def test_rows_are_selected_by_task_and_method():
    assert SUITE.select() == list(SUITE.rows)
    assert SUITE.select(['cls'], ['g2sd']) == [SUITE.rows[0]]
    assert SUITE.select(['det']) == [SUITE.rows[2]]
    assert SUITE.select(None, ['g2sd']) == [SUITE.rows[0], SUITE.rows[2]]


def test_unknown_tasks_and_methods_are_told_the_known_ones():
    with pytest.raises(UserError, match=words('--tasks pose', 'toy suite has cls, det')):
        SUITE.select(['cls', 'pose'])
    with pytest.raises(UserError, match=words('--rows kd', 'toy suite has g2sd, scratch')):
        SUITE.select(None, ['kd'])


@pytest.mark.parametrize('suite', SUITES.values(), ids=lambda suite: suite.name)
def test_every_suite_is_whole(suite):
    """Configs exist, and every step and row names steps of the suite."""
    names = {step.name for step in suite.steps}
    assert len(names) == len(suite.steps)
    for step in suite.steps:
        assert (ROOT / step.config).is_file()
        assert set(step.needs) <= names
    assert {row.step for row in suite.rows} <= names
    assert len({(row.task, row.method) for row in suite.rows}) == len(suite.rows)


@pytest.mark.parametrize('suite', SUITES.values(), ids=lambda suite: suite.name)
def test_what_a_config_loads_is_what_its_step_needs(suite):
    """Each ``work_dirs/NAME/weights.pth`` in a config is a step that is run before."""
    from g2sd_mm.cli.config import load_config

    for step in suite.steps:
        text = load_config(str(ROOT / step.config), step.options).dump()
        loaded = {part.split('/')[0] for part in text.split('work_dirs/')[1:]}
        assert loaded == set(step.needs), step.name


def test_the_demo_has_the_rows_that_its_claims_need():
    methods = {row.method for row in DEMO.rows if row.task == 'cls'}
    assert methods == {'teacher', 'scratch', 'g2sd_nosd', 'g2sd', 'single_stage'}
