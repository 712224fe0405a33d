"""How ``tools/reproduce.py`` ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from g2sd_mm.bench.suites import run as run_module
from g2sd_mm.cli import reproduce
from g2sd_mm.errors import RunError

from ..helpers.toys import ROOT, image_folder, refused, run_tool


def test_nothing_is_trained_before_a_suite_is_named(monkeypatch, capsys):
    monkeypatch.setattr('sys.argv', ['reproduce.py', '--tasks', 'cls'])
    with pytest.raises(SystemExit) as ended:
        reproduce.main()
    assert ended.value.code == 2
    assert 'say which suite: --suite demo, mini, league or paper' in capsys.readouterr().err


@pytest.mark.parametrize('failed', [False, True])
def test_rows_that_failed_end_it_with_the_first_cause(monkeypatch, tmp_path, failed):
    rows = [dict(method='scratch', seed=0, metrics={}), dict(method='g2sd', seed=1)]
    if failed:
        rows[1]['error'] = 'the disk is full'
    monkeypatch.setattr('g2sd_mm.bench.suites.run.run_suite', lambda *_, **__: {'rows': rows})
    monkeypatch.setattr('g2sd_mm.bench.suites.pictures.draw_pictures', lambda *_: None)
    reported = []
    monkeypatch.setattr(reproduce, '_report', reported.append)
    args = reproduce.parser().parse_args(['--suite', 'demo', '--out', str(tmp_path / 'out')])
    if failed:
        with pytest.raises(RunError, match='1 of 2 rows failed; the first, g2sd: the disk is full'):
            reproduce._run(args)
    else:
        reproduce._run(args)
    assert reported == [tmp_path / 'out']  # what did finish is reported in either case


@pytest.mark.parametrize(
    ('asked', 'done', 'shown'),
    [
        ([0, 1, 2], [0, 1, 2], 0),
        ([2, 1], [2, 1], 1),  # the first of those that are here, in whatever order asked for
        ([2], [], 2),
        ([1], [0, 1], 1),  # seed 0 was read from the record: its weights are elsewhere
    ],
)
@pytest.mark.parametrize('suite', ['demo', 'paper'])  # forked, launched
def test_pictures_are_of_the_first_seed_that_ran_here(
    monkeypatch, tmp_path, suite, asked, done, shown
):
    rows = [dict(method='scratch', seed=seed, metrics={}) for seed in done]
    monkeypatch.setattr('g2sd_mm.bench.suites.run.run_suite', lambda *_, **__: {'rows': rows})
    drawn = []
    monkeypatch.setattr(
        'g2sd_mm.bench.suites.pictures.draw_pictures',
        lambda suite, rows, weights, out: drawn.append((weights, out)),
    )
    monkeypatch.setattr(reproduce, '_report', lambda folder: None)
    monkeypatch.setattr('g2sd_mm.bench.suites.plan.missing_data', lambda suite, rows: [])
    for seed in asked:
        (tmp_path / f'seed{seed}').mkdir()
    seeds = [str(seed) for seed in asked]
    words = ['--suite', suite, '--out', str(tmp_path), '--seeds', *seeds]
    reproduce._run(reproduce.parser().parse_args(words))
    assert drawn == [(tmp_path / f'seed{shown}', tmp_path / 'pictures')]


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_one_that_is_stopped_says_how_it_goes_on(tmp_path, number):
    """And waits for none of its threads: one may wait for hours for another process's run."""

    def run_suite(*_, **__):
        threading.Thread(target=time.sleep, args=[100]).start()
        os.kill(os.getpid(), number)
        time.sleep(100)

    def prepare():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        run_module.run_suite = run_suite

    words = ['--suite', 'demo', '--out', 'an out']
    done = run_tool('reproduce.py', *words, cwd=tmp_path, timeout=60, prepare=prepare)
    assert done.returncode == 128 + number
    assert done.stdout.endswith("reproduce.py --suite demo --out 'an out'\n")
    assert done.stdout.count('\n') == 1 and not done.stderr


@pytest.fixture
def asked(monkeypatch, tmp_path) -> list:
    """What suites are run, in an empty folder with ``pets``; none is."""
    monkeypatch.chdir(tmp_path)
    for split in ('train', 'val'):
        image_folder(Path('pets') / split, classes=2, each=32, size=8)
    runs: list = []

    def run_suite(suite, rows, seeds, folder, *_, data=None, **__):
        runs.append((suite, folder))
        fingerprints = {'data': data.name, 'fingerprints': data.fingerprints} if data else {}
        folder.mkdir(parents=True, exist_ok=True)
        content = {'suite': suite.name, 'rows': [], **fingerprints}
        (folder / 'results.json').write_text(json.dumps(content))
        return {'rows': []}

    monkeypatch.setattr('g2sd_mm.bench.suites.run.run_suite', run_suite)
    monkeypatch.setattr('g2sd_mm.bench.suites.pictures.draw_pictures', lambda *_: None)
    monkeypatch.setattr(reproduce, '_report', lambda folder: None)
    return runs


def run(*arguments: str) -> None:
    words = ['--suite', 'mini', '--tables', 'main', *arguments]
    reproduce._run(reproduce.parser().parse_args(words))


@pytest.mark.parametrize(
    ('arguments', 'record'),
    [((), 'docs/results/mini'),
     (('--data-root', 'pets'), 'work_dirs/mini_pets/record'),
     (('--data-root', 'pets', '--out', 'there'), 'there/record'),
     (('--data-root', 'pets', '--record', 'mine'), 'mine'),
     (('--data-root', 'pets', '--smoke'), None)],
)  # fmt: skip
def test_rows_on_own_data_are_kept_where_nobody_commits_them(asked, arguments, record):
    run(*arguments)
    assert asked[0][0].record == record


@pytest.mark.parametrize(
    ('option', 'number'), [('jobs', -1), ('jobs', 0), ('gpus', 0), ('seeds', -1)]
)
def test_numbers_that_are_too_small_are_refused(asked, option, number):
    with refused(f'--{option} {number}'):
        run(f'--{option}', str(number))
    assert not asked


@pytest.mark.parametrize('words', ['--launcher slurm', '--gpus 4', '--no-amp', '--teachers train'])
def test_options_that_say_nothing_to_a_suite_are_refused(asked, words):
    with refused(words.split()[0]):
        run(*words.split())


def test_a_row_of_ones_own_that_is_left_out_is_refused(asked):
    Path('mine.py').write_text(f"_base_ = '{ROOT}/configs/mini/g2sd_vits_cls.py'")
    with refused('--add mine.py'):
        run('--data-root', 'pets', '--add', 'mine.py', '--rows', 'scratch')
    assert not asked


def test_a_folder_of_weights_that_is_not_there_is_refused(asked):
    with refused('--weights wieghts'):
        run('--weights', 'wieghts')


def test_a_seed_that_is_named_twice_is_run_once(asked, capsys):
    run('--data-root', 'pets', '--seeds', '3', '3', '--rows', 'scratch', '--dry-run')
    assert capsys.readouterr().out.count('tools/train.py') == 1


def test_own_data_are_told_how_much_it_will_be(asked, capsys):
    run('--data-root', 'pets', '--rows', 'scratch')
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith('vits_scratch_cls: 20 passes over 64 images of ')
    with refused('too few for vits_scratch_cls_labels10', '--tables main'):
        run('--data-root', 'pets', '--rows', 'scratch', '--tables', 'labels')
    assert len(asked) == 1


def test_other_data_of_the_same_name_are_refused(asked, tmp_path):
    run('--data-root', 'pets')
    run('--data-root', 'pets')
    run('--data-root', 'pets', '--smoke')
    (tmp_path / 'b').mkdir()
    shutil.copytree('pets', 'b/pets')
    run('--data-root', 'b/pets')
    next((tmp_path / 'b').rglob('*.png')).unlink()
    image_folder(tmp_path / 'b' / 'pets' / 'train' / 'class_0', classes=1, each=4)
    with refused('work_dirs/mini_pets has the results of mini on other data called pets (cls ',
                 'give another folder by --out, or move this one away'):
        run('--data-root', 'b/pets')
    run('--data-root', 'b/pets', '--smoke')  # of which nothing is worth keeping
    run('--data-root', 'b/pets', '--out', 'other')
    assert len(asked) == 6


def line(**more) -> dict:
    return dict(task='cls', method='scratch', student='vits', seed=0, config='configs/a.py',
                params_m=1.0, gflops=1.0, train_seconds=1.0, total_seconds=1.0,
                metrics={'top1': 50.0}, **more)  # fmt: skip


def test_a_record_has_a_report_for_each_of_its_data(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = tmp_path / 'record' / 'rows'
    rows.mkdir(parents=True)
    for name in ('cats', 'pets'):
        how = {'command': '', 'jobs': 1, 'environment': {}}
        kept = {'digest': '', 'suite': 'mini', **how, 'row': line()}
        (rows / f'{name}_cls_vits_scratch_seed0.json').write_text(json.dumps(kept))
    with refused('record has rows on cats and no results_cats.json', '--record'):
        reproduce._report(rows.parent)
    results = {'suite': 'mini', 'data': 'pets', 'rows': [line()], 'environment': {}}
    (rows.parent / 'results_pets.json').write_text(json.dumps(results))
    reproduce._report(rows.parent)
    assert 'on pets' in (rows.parent / 'report_pets.html').read_text()
    assert 'rows on cats and no results_cats.json' in capsys.readouterr().out
    assert sorted(path.name for path in rows.parent.iterdir()) == [
        'report_pets.html', 'results_pets.json', 'rows'
    ]


def test_pictures_of_shapes_are_not_shown_with_own_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = []

    def render(results, *folders):
        shown.append((results.get('data'), [str(folder) for folder in folders]))
        return ''

    monkeypatch.setattr('g2sd_mm.bench.reports.page.render', render)
    (tmp_path / 'record' / 'rows').mkdir(parents=True)
    results = {'suite': 'mini', 'rows': [line()], 'environment': {}}
    for ending, data in (('', {}), ('_pets', {'data': 'pets'})):
        file = tmp_path / 'record' / f'results{ending}.json'
        file.write_text(json.dumps({**results, **data}))
    reproduce._report(tmp_path / 'record')
    assert shown == [
        (None, [str(tmp_path / 'record'), 'work_dirs/mini']), ('pets', ['work_dirs/mini_pets'])
    ]
