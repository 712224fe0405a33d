"""Running a suite: what is finished stays, what fails is recorded, the rest goes on."""

from __future__ import annotations

import json
import os
import shutil
import threading
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
from filelock import FileLock

from g2sd_mm.bench.reports.page import notices
from g2sd_mm.bench.results import read_results
from g2sd_mm.bench.suites import launch as launch_module
from g2sd_mm.bench.suites import run as run_module
from g2sd_mm.bench.suites.commands import HERE
from g2sd_mm.bench.suites.data import OwnData
from g2sd_mm.bench.suites.launch import launch
from g2sd_mm.bench.suites.plan import local_commands
from g2sd_mm.bench.suites.run import run_suite
from g2sd_mm.bench.suites.suites import Row, Step, Suite
from g2sd_mm.errors import UserError
from g2sd_mm.runs.own_data import Source

from ...helpers import imagenet
from ...helpers.toys import ROOT, words
from .fakes import ALL, CONFIG, by_method, run_forked, suite


def go(folder: Path, toy: Suite | None = None, seeds: tuple = (0,)) -> tuple[dict, list[str]]:
    """Results of a run of all rows, and what it said."""
    toy, said = toy or suite(), []
    return run_suite(toy, toy.rows, seeds, folder, say=said.append), said


def test_every_step_is_run_once_and_in_order(fake, tmp_path):
    results, said = go(tmp_path)
    assert fake.ran() == ALL
    assert said[0] == '[1/4] seed 0 vitb_mae: 10 s  top1 50'
    assert json.loads((tmp_path / 'results.json').read_text()) == results


def test_results_have_the_agreed_fields(fake, tmp_path):
    results, _ = go(tmp_path)
    assert {'suite', 'environment', 'rows'} <= set(results)
    assert results['suite'] == 'toy'
    assert {'python', 'cpu', 'cores', 'commit', 'packages'} <= set(results['environment'])
    agreed = {'task', 'method', 'student', 'dataset', 'seed', 'metrics', 'params_m', 'gflops',
              'train_seconds', 'config', 'checkpoint'}
    for row in results['rows']:
        assert agreed <= set(row)
    assert by_method(results)['teacher']['student'] == 'vitb'
    assert by_method(results)['g2sd']['student'] == 'vits'


def test_rows_have_the_commit_that_they_were_trained_at(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, 'git_commit', lambda: 'first')
    toy = suite()
    run_suite(toy, toy.rows[:1], (0,), tmp_path, say=lambda line: None)
    monkeypatch.setattr(run_module, 'git_commit', lambda: 'second')
    rows = by_method(go(tmp_path)[0])
    assert [rows[m]['commit'] for m in ('teacher', 'g2sd')] == ['first', 'second']


def test_compute_is_given_with_what_a_row_needs(fake, tmp_path):
    rows = by_method(go(tmp_path)[0])
    assert [rows[m]['total_seconds'] for m in ('teacher', 'g2sd', 'scratch')] == [20, 30, 10]
    assert rows['g2sd']['train_seconds'] == 10


def test_finished_steps_are_not_run_again(fake, tmp_path):
    first, _ = go(tmp_path)
    fake.ran()
    second, said = go(tmp_path)
    assert fake.ran() == []
    assert second['rows'] == first['rows']
    assert said == [
        f'[{i}/4] seed 0 {name}: done before  top1 50' for i, name in enumerate(ALL, 1)
    ]


def test_rows_that_were_finished_stay_when_others_are_asked_for(fake, tmp_path):
    def call(row: Row, seed: int = 0, toy: Suite | None = None) -> list[tuple[int, str]]:
        results = run_suite(
            toy or suite(), [row], (seed,), tmp_path, say=str, command=f'{row.method} {seed}'
        )
        assert json.loads((tmp_path / 'results.json').read_text()) == results
        assert not any('error' in line for line in results['rows'])
        made.append([way.get('command') for way in results.get('made', ())])
        return [(line['seed'], line['method']) for line in results['rows']]

    made: list[list[str]] = []
    teacher, g2sd, scratch = suite().rows
    assert call(scratch) == [(0, 'scratch')]
    assert call(teacher) == [(0, 'teacher'), (0, 'scratch')]
    assert call(teacher, seed=1) == [(0, 'teacher'), (0, 'scratch'), (1, 'teacher')]
    assert made == [[], ['scratch 0', 'teacher 0'], ['scratch 0', 'teacher 0', 'teacher 1']]
    fake.ran()
    (tmp_path / 'results.json').write_text('damaged')
    assert call(scratch) == [(0, 'scratch')]
    # one without a command, as none of ours is, and a run's that says nothing of how it was told
    (tmp_path / 'results.json').write_text(json.dumps({'suite': 'toy', 'rows': []}))
    assert call(scratch) == [(0, 'scratch')]
    lines = json.loads((tmp_path / 'results.json').read_text())['rows']
    (tmp_path / 'results.json').write_text(json.dumps({'suite': 'toy', 'rows': lines}))
    assert call(teacher) == [(0, 'teacher'), (0, 'scratch')]
    (tmp_path / 'seed0' / 'vits_scratch_cls' / 'result.json').write_text('{}')
    assert call(teacher) == [(0, 'teacher')]
    (tmp_path / 'seed0' / 'vits_scratch_cls' / 'result.json').write_text('damaged')
    assert call(teacher) == [(0, 'teacher')]
    assert call(scratch) == [(0, 'teacher'), (0, 'scratch')]
    assert fake.ran() == ['vits_scratch_cls resumed']
    # what would be another run now does not stay
    assert call(g2sd, toy=suite(**{'train_cfg.max_epochs': 21})) == [(0, 'g2sd'), (0, 'scratch')]
    assert fake.ran() == ALL[:3]


def test_rows_that_count_no_more_are_named(fake, tmp_path):
    def left_out(toy: Suite, *rows: Row) -> list[str]:
        results = run_suite(toy, rows, (0,), tmp_path, say=str)
        names = results.get('left_out', [])
        assert all(any(name in line for line in notices(results)) for name in names)
        return names

    longer = suite(**{'train_cfg.max_epochs': 21})
    teacher, g2sd, scratch = longer.rows
    go(tmp_path)
    assert left_out(longer, scratch) == ['cls teacher seed 0', 'cls g2sd seed 0']
    assert left_out(longer, teacher) == ['cls g2sd seed 0']
    assert left_out(longer, g2sd) == []
    # of a row that the suite had for a call
    assert left_out(replace(longer, rows=(g2sd,)), g2sd) == [
        'cls teacher seed 0', 'cls scratch seed 0'
    ]


def test_a_suite_that_was_copied_has_files_of_its_own(fake, tmp_path):
    go(tmp_path)
    fake.ran()
    copy = tmp_path.with_name(f'{tmp_path.name}_copy')
    shutil.copytree(tmp_path, copy)
    results, said = go(copy)
    assert all('done before' in line for line in said)
    assert all(Path(row['checkpoint']).is_relative_to(copy) for row in results['rows'])


def test_seeds_have_folders_of_their_own(fake, tmp_path):
    results, _ = go(tmp_path, seeds=(0, 1))
    assert fake.ran(seed=1) == ALL
    found = [(row['seed'], row['metrics']['top1']) for row in results['rows']]
    assert found == [(0, 50)] * 3 + [(1, 51)] * 3
    assert (tmp_path / 'seed1' / 'vitb_mae' / 'result.json').is_file()


def test_a_changed_option_runs_the_step_and_what_needs_it_again(fake, tmp_path):
    go(tmp_path)
    fake.ran()
    longer = suite(**{'train_cfg.max_epochs': 21})
    go(tmp_path, longer)
    assert fake.ran() == ALL[:3]  # not the row beside
    go(tmp_path, longer)
    assert fake.ran() == []


def test_interrupted_and_failed_runs_are_tried_again_and_go_on(fake, tmp_path):
    fake.failing = 'vitb_cls'
    go(tmp_path)
    fake.ran()
    fake.failing = None
    results, _ = go(tmp_path)
    assert fake.ran() == ['vitb_cls resumed', 'g2sd_vits_cls']
    assert by_method(results)['g2sd']['total_seconds'] == 30  # nothing was saved before
    assert not [row for row in results['rows'] if 'error' in row]


def test_the_time_before_the_interruption_counts(fake, tmp_path):
    fake.failing = 'vitb_cls'
    go(tmp_path)
    fake.failing, run = None, tmp_path / 'seed0' / 'vitb_cls'
    (run / 'last_checkpoint').touch()
    later = json.loads((run / 'begun.json').read_text())['started'] + 100
    os.utime(run / 'last_checkpoint', (later, later))
    rows = by_method(go(tmp_path)[0])
    assert (rows['teacher']['train_seconds'], rows['g2sd']['total_seconds']) == (110, 130)


def test_runs_of_another_configuration_do_not_go_on(fake, tmp_path):
    fake.failing = 'vitb_mae'
    go(tmp_path)
    fake.ran()
    fake.failing = None
    go(tmp_path, suite(**{'train_cfg.max_epochs': 21}))
    assert fake.ran()[:2] == ['vitb_mae', 'vitb_cls']


def test_runs_that_were_begun_by_hand_go_on_if_asked_to(fake, tmp_path):
    toy = suite()
    run_suite(toy, toy.rows, (0,), tmp_path, say=lambda line: None, resume=True)
    assert fake.ran() == [f'{name} resumed' for name in ALL]


def test_two_suites_at_once_run_every_step_once(fake, tmp_path):
    fake.seconds = 0.3
    processes = [get_context('fork').Process(target=go, args=(tmp_path,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert fake.ran() == ALL
    assert [row['metrics'] for row in read_results(tmp_path / 'results.json')['rows']] == (
        [{'top1': 50.0}] * 3
    )


def test_rows_of_another_suite_that_runs_at_the_same_time_stay(fake, tmp_path):
    teacher, g2sd, scratch = suite().rows
    others = []

    def say(line: str) -> None:
        if not others:  # while the first suite is under way
            others.append(run_suite(suite(), [scratch], (0, 1), tmp_path, say=str))

    results = run_suite(suite(), [teacher, g2sd], (0,), tmp_path, say=say)
    assert json.loads((tmp_path / 'results.json').read_text()) == results
    found = [(row['seed'], row['method']) for row in results['rows']]
    assert found == [(0, 'teacher'), (0, 'g2sd'), (0, 'scratch'), (1, 'scratch')]


def test_a_suite_that_waits_for_another_one_says_so(fake, tmp_path):
    (tmp_path / 'seed0').mkdir()
    other, said = FileLock(tmp_path / 'seed0' / '.vitb_cls.lock', thread_local=False), []

    def say(line: str) -> None:
        said.append(line)
        if 'another process' in line:
            other.release()

    other.acquire()
    late = threading.Timer(5, other.release)  # for a suite that says nothing
    late.start()
    run_suite(suite(), suite().rows, (0,), tmp_path, say=say)
    late.cancel()
    assert fake.ran() == ALL and len(said) == 5
    assert said[1].startswith('seed 0 vitb_cls: ') and 'another process' in said[1]


def test_a_run_without_its_figure_is_a_failed_row(fake, tmp_path):
    toy = suite()
    rows = (Row('seg', 'g2sd', 'vits_scratch_cls'),)  # the stand-in knows top1 alone
    toy = Suite('toy', toy.steps, rows)
    (row,) = run_suite(toy, rows, (0,), tmp_path, say=lambda line: None)['rows']
    assert row['error'].startswith('its evaluation gave no mIoU')


def test_lost_weights_are_made_again(fake, tmp_path):
    go(tmp_path)
    fake.ran()
    (tmp_path / 'seed0' / 'vitb_cls' / 'weights.pth').unlink()
    go(tmp_path)
    assert fake.ran() == ['vitb_cls resumed']  # from its last checkpoint, if that is there


def test_a_failing_step_is_recorded_and_the_others_go_on(fake, tmp_path):
    fake.failing = 'vitb_cls'
    results, said = go(tmp_path)
    assert fake.ran() == ['vitb_mae', 'vitb_cls', 'vits_scratch_cls']
    rows = by_method(results)
    assert rows['teacher']['error'] == 'out of memory'
    assert rows['g2sd']['error'] == 'needs vitb_cls, which failed: out of memory'
    assert 'metrics' not in rows['teacher']
    assert rows['scratch']['metrics'] == {'top1': 50.0}
    assert '[2/4] seed 0 vitb_cls: failed: out of memory' in said
    assert any('g2sd_vits_cls: failed: needs vitb_cls' in line for line in said)


def test_results_are_written_whenever_a_run_ends(fake, tmp_path):
    seen = []

    def say(line: str) -> None:
        path = tmp_path / 'results.json'
        seen.append(len(read_results(path)['rows']) if path.exists() else 0)

    toy = suite()
    run_suite(toy, toy.rows, (0, 1), tmp_path, say=say)
    assert seen == [0, 0, 1, 2, 3, 3, 4, 5]  # as it stands when the next one ends


def test_a_folder_says_whose_it_is_before_a_run_has_ended(fake, tmp_path, monkeypatch):
    """Else runs on other data of the same name would take the place of stopped ones."""
    def stop(*_, **__):
        raise KeyboardInterrupt

    source = Source('cls', tmp_path, tmp_path, {}, lambda: 'abc', {})
    monkeypatch.setattr(run_module, 'RunProgress', stop)
    with pytest.raises(KeyboardInterrupt):
        run_suite(suite(), suite().rows, (0,), tmp_path, data=OwnData((source,), 'pets'))
    there = read_results(tmp_path / 'results.json')
    assert (there['data'], there['fingerprints']['cls'], there['rows']) == ('pets', 'abc', [])


@pytest.mark.parametrize('jobs', [2, 3])
def test_several_runs_at_once_give_the_same_rows(fake, tmp_path, jobs):
    toy = suite()
    alone, _ = go(tmp_path / 'alone')
    together = run_suite(
        toy, toy.rows, (0,), tmp_path / 'together', jobs=jobs, say=lambda line: None
    )

    def without_places(rows: list) -> list:
        return [{k: v for k, v in row.items() if k != 'checkpoint'} for row in rows]

    assert without_places(together['rows']) == without_places(alone['rows'])


def test_a_plan_has_a_command_for_every_step():
    commands = list(local_commands(suite(), suite().rows, [0, 3], Path('out')))
    assert len(commands) == 8
    assert commands[0].startswith(f'python tools/train.py {CONFIG}/vitb_mae.py --seed 0 ')
    assert 'out/seed3' in commands[-1]


def test_a_folder_without_results_is_named_and_one_below_that_has_them(tmp_path):
    path = tmp_path / 'results.json'
    with pytest.raises(UserError, match=f'^no {path}: '):
        read_results(path)
    (tmp_path / 'demo').mkdir()
    (tmp_path / 'demo' / 'results.json').touch()
    with pytest.raises(UserError, match=f'^no {path}: .* {tmp_path / "demo"}$'):
        read_results(path)


@pytest.mark.parametrize('content', ['', '{}', '[]', '{"rows": []}'])
def test_what_is_no_results_file_is_named(tmp_path, content):
    path = tmp_path / 'results.json'
    path.write_text(content)
    with pytest.raises(UserError, match=words('results.json is not a results.json')):
        read_results(path)


def test_a_trained_step_is_measured(tmp_path, monkeypatch, image_data):
    """The real thing, at toy size: metrics of the last validation, size and arithmetic."""
    monkeypatch.setenv('G2SD_DATA', str(image_data))
    monkeypatch.setattr(launch_module, 'run_shell', run_forked)
    once = {'train_cfg.max_epochs': 1, 'param_scheduler.0.warmup': 0}
    step = Step(imagenet.path('vits_scratch_cls'), options=imagenet.plain('demo-student', **once))
    monkeypatch.chdir(ROOT)
    result = launch(step, 0, tmp_path, HERE)
    assert set(result['metrics']) == {'top1'}
    assert Path(result['checkpoint']) == tmp_path / 'vits_scratch_cls' / 'weights.pth'
    assert result['images_seen'] == 24
    assert result['dataset'] == 'imagenet'
    assert result['params_m'] == pytest.approx(0.2, abs=0.05)
    # 17 tokens through 4 blocks: matrices of 12 * 64 ** 2, and two products for attention
    multiplications = 17 * 4 * 12 * 64**2 + 4 * 2 * 17**2 * 64 + 16 * 192 * 64
    assert result['gflops'] == pytest.approx(2 * multiplications / 1e9, abs=1e-4)
