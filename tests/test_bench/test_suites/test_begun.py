"""Whether a run goes on, and how long it took before."""

from __future__ import annotations

import json
import os
import time

import pytest

from g2sd_mm.bench.suites.launch import BEGUN, begin


@pytest.fixture
def run(tmp_path):
    """A run's folder with a checkpoint and a log."""
    log = tmp_path / 'run' / '20260101_000000' / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text('{}')
    (tmp_path / 'run' / 'last_checkpoint').write_text('epoch_2.pth')
    return tmp_path / 'run'


def logs(run) -> list:
    return list(run.glob('*/vis_data/scalars.json'))


def saved(run, seconds: float) -> None:
    """As if the last checkpoint was saved so many seconds after the run began."""
    started = json.loads((run / BEGUN).read_text())['started']
    os.utime(run / 'last_checkpoint', (started + seconds,) * 2)


def test_a_first_run_is_new(tmp_path):
    assert begin(tmp_path / 'run', 'abc') is None
    note = json.loads((tmp_path / 'run' / BEGUN).read_text())
    assert note['digest'] == 'abc' and abs(note['started'] - time.time()) < 60


def test_time_counts_up_to_the_checkpoint_however_often_it_was_interrupted(tmp_path):
    run = tmp_path / 'run'
    begin(run, 'abc')
    assert begin(run, 'abc') == 0  # nothing was saved
    (run / 'last_checkpoint').touch()
    saved(run, 30)
    assert begin(run, 'abc') == 30
    saved(run, -10)  # killed before it saved again
    assert begin(run, 'abc') == 30
    saved(run, 5)
    assert begin(run, 'abc') == 35


def test_a_copied_run_takes_no_time_of_lying_about(tmp_path):
    run = tmp_path / 'run'
    begin(run, 'abc')
    (run / 'last_checkpoint').touch()
    saved(run, 90_000)  # when it was copied
    started = json.loads((run / BEGUN).read_text())['started']
    (run / 'progress.json').write_text(json.dumps({'time': started + 40}))
    assert begin(run, 'abc') == 40


def test_a_run_of_another_configuration_is_set_aside_whole(run):
    begin(run, 'abc', resume=True)
    before = {file.relative_to(run) for file in run.rglob('*')}
    assert begin(run, 'changed') is None
    assert not (run / 'last_checkpoint').exists() and not logs(run)
    aside = run.with_name('run_before_1')
    assert {file.relative_to(aside) for file in aside.rglob('*')} == before
    assert json.loads((aside / BEGUN).read_text())['digest'] == 'abc'
    assert begin(run, 'changed', resume=True) == 0
    assert begin(run, 'again') is None
    assert sorted(path.name for path in run.parent.iterdir()) == [
        'run', 'run_before_1', 'run_before_2'
    ]


def test_nothing_is_set_aside_where_nothing_is(tmp_path):
    (tmp_path / 'run').mkdir()
    assert begin(tmp_path / 'run', 'abc') is None
    assert [path.name for path in tmp_path.iterdir()] == ['run']


def test_a_run_that_was_begun_by_hand_goes_on_if_that_is_asked_for(run):
    logs(run)[0].write_text('{"loss": 1.0, "iter": 10, "time": 1.5}\n')
    assert begin(run, 'abc', resume=True) == 15
    assert (run / 'last_checkpoint').is_file()
    (run / BEGUN).unlink()
    assert begin(run, 'abc') is None
    assert not (run / 'last_checkpoint').exists()
    assert (run.with_name('run_before_1') / 'last_checkpoint').is_file()


def test_another_configuration_does_not_go_on_whatever_is_asked_for(run):
    begin(run, 'abc', resume=True)
    assert begin(run, 'changed', resume=True) is None
