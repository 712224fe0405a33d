"""Finished rows as files: a table made in parts, on one machine or on several."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from mmengine.config import Config

from g2sd_mm.bench.reports.page import render
from g2sd_mm.bench.suites import launch as launch_module
from g2sd_mm.bench.suites import run as run_module
from g2sd_mm.bench.suites.budget import _read
from g2sd_mm.bench.suites.catalogue import MINI, SUITES
from g2sd_mm.bench.suites.data import OwnData
from g2sd_mm.bench.suites.digests import all_digests, row_digests
from g2sd_mm.bench.suites.plan import with_given_files
from g2sd_mm.bench.suites.record import Record
from g2sd_mm.bench.suites.run import merge_rows, run_suite
from g2sd_mm.bench.suites.suites import Row, Suite
from g2sd_mm.cli.reproduce import _report
from g2sd_mm.config.load import load_config
from g2sd_mm.errors import RunError
from g2sd_mm.runs.own_data import Source

from ...helpers.toys import ROOT, refused
from .fakes import ALL, by_method, suite


def go(folder: Path, record: Path, methods=None, seeds=(0,), **options) -> dict:
    toy = replace(suite(**options), record=str(record))
    rows = [row for row in toy.rows if not methods or row.method in methods]
    return run_suite(toy, rows, seeds, folder, say=lambda line: None)


@pytest.fixture
def record(tmp_path) -> Path:
    return tmp_path / 'record'


def names(record: Path) -> list[str]:
    return sorted(path.name for path in (record / 'rows').iterdir())


def test_a_finished_row_is_a_file_with_its_log(fake, tmp_path, record, monkeypatch):
    def train(step, seed, runs, launcher, resume, **how):
        log = runs / step.name / '1' / 'vis_data' / 'scalars.json'
        log.parent.mkdir(parents=True)
        entries = [{'loss': 2.0, 'lr': 0.1, 'time': 3.0, 'iter': 50, 'step': 50},
                   {'accuracy/top1': 50.0, 'step': 1}]
        log.write_text('\n'.join(map(json.dumps, entries)))
        return fake(step, seed, runs, launcher, resume)

    monkeypatch.setattr(run_module, 'launch', train)
    results = go(tmp_path / 'out', record, ['scratch'])
    assert names(record) == [f'shapes_cls_vits_scratch_seed0.{kind}' for kind in ('json', 'log')]
    kept = json.loads((record / 'rows' / 'shapes_cls_vits_scratch_seed0.json').read_text())
    assert kept['row'] == results['rows'][0]
    assert {'digest', 'suite', 'command', 'environment', 'steps'} <= set(kept)
    lines = (record / 'rows' / 'shapes_cls_vits_scratch_seed0.log').read_text().splitlines()
    assert lines == ['step 50: loss 2  lr 0.1', 'step 1: accuracy/top1 50']


def test_a_row_of_another_table_has_a_file_of_its_own(fake, tmp_path, record):
    toy = suite()
    few = [replace(row, table='labels', setting='10 %') for row in toy.rows]
    toy = replace(toy, rows=(*toy.rows, *few), record=str(record))
    rows = [row for row in toy.rows if row.method == 'scratch']
    first = run_suite(toy, rows, (0,), tmp_path / 'here', say=lambda line: None)
    name = 'shapes_cls_vits_scratch'
    assert names(record) == [
        f'{name}_{rest}seed0.{kind}' for rest in ('labels10_', '') for kind in ('json', 'log')
    ]
    fake.ran()
    again = run_suite(toy, rows, (0,), tmp_path / 'there', say=lambda line: None)
    assert fake.ran() == []
    assert [row.get('table') for row in again['rows']] == [None, 'labels']
    assert first['rows'] == again['rows']


def test_parts_make_a_whole(fake, tmp_path, record):
    """Another machine has the record, but none of the runs."""
    go(tmp_path / 'here', record, ['teacher'])
    assert fake.ran() == ALL[:2]
    there = go(tmp_path / 'there', record, ['scratch'])
    assert fake.ran() == ['vits_scratch_cls']
    assert list(by_method(there)) == ['teacher', 'scratch']
    whole = go(tmp_path / 'there', record)
    assert fake.ran() == ['vitb_mae', 'vitb_cls', 'g2sd_vits_cls']  # what g2sd needs
    assert list(by_method(whole)) == ['teacher', 'g2sd', 'scratch']
    assert json.loads((record / 'results.json').read_text()) == whole
    go(tmp_path / 'elsewhere', record)
    assert fake.ran() == []


def test_seeds_of_before_stay_in_the_table(fake, tmp_path, record):
    go(tmp_path / 'out', record, ['scratch'], seeds=(0,))
    results = go(tmp_path / 'out', record, ['scratch'], seeds=(2,))
    assert [row['seed'] for row in results['rows']] == [0, 2]


def test_rows_that_another_process_finishes_meanwhile_are_in_the_table(
    fake, tmp_path, record, monkeypatch
):
    def train(step, seed, runs, launcher, resume, **how):
        if seed == 0:
            go(tmp_path / 'there', record, ['scratch'], seeds=(1,))
        return fake(step, seed, runs, launcher, resume)

    monkeypatch.setattr(run_module, 'launch', train)
    results = go(tmp_path / 'here', record, ['scratch'], seeds=(0,))
    assert [row['seed'] for row in results['rows']] == [0, 1]
    assert results['left_out'] == []
    assert json.loads((record / 'results.json').read_text()) == results


def test_rows_of_another_configuration_are_run_again(fake, tmp_path, record):
    go(tmp_path / 'out', record)
    fake.ran()
    results = go(tmp_path / 'out', record, ['teacher'], **{'train_cfg.max_epochs': 21})
    assert fake.ran() == ALL[:2]
    # g2sd was taught by another teacher; scratch has nothing to do with it
    assert list(by_method(results)) == ['teacher', 'scratch']


def test_a_table_made_in_parts_says_how_each_was_made(fake, tmp_path, record):
    go(tmp_path / 'out', record, ['teacher'])
    file = record / 'rows' / 'shapes_cls_vitb_teacher_seed0.json'
    kept = json.loads(file.read_text())
    kept['environment']['commit'] = 'of before'
    file.write_text(json.dumps(kept))
    results = go(tmp_path / 'out', record)
    assert [(way['rows'], way['environment']['commit'] == 'of before') for way in results['made']] \
        == [(1, True), (2, False)]
    assert all({'command', 'jobs'} <= set(way) for way in results['made'])
    assert (results['missing'], results['left_out']) == ([], [])


def test_rows_that_are_missing_and_files_that_count_no_more_are_named(fake, tmp_path, record):
    go(tmp_path / 'out', record, seeds=(0, 1))
    toy = replace(suite(**{'train_cfg.max_epochs': 21}), record=str(record), seeds=(0, 1, 2))
    results = run_suite(toy, toy.rows[2:], (0,), tmp_path / 'out', say=lambda line: None)
    assert {row['method'] for row in results['rows']} == {'scratch'}
    assert results['missing'] == [
        'cls teacher seed 0', 'cls g2sd seed 0', 'cls teacher seed 1', 'cls g2sd seed 1',
        'cls teacher seed 2', 'cls g2sd seed 2', 'cls scratch seed 2',
    ]
    assert results['left_out'] == [  # their teacher's pre-training was another
        f'shapes_cls_{name}_seed{seed}.json'
        for name in ('vitb_teacher', 'vits_g2sd') for seed in (0, 1)
    ]


def other(record: Path, source: str, **fingerprints: str) -> Record:
    """The same rows on data of one's own; results say how."""
    made = Record(record, source, fingerprints)
    for line in json.loads((record / 'results.json').read_text())['rows']:
        results = json.loads((record / 'results.json').read_text())
        made.add(results, line, 'digest', record / 'seed0', ['none'])
    return made


def test_a_source_that_begins_like_another_is_another(fake, tmp_path, record, monkeypatch):
    monkeypatch.setitem(SUITES, 'toy', replace(suite(), record=str(record)))
    go(tmp_path / 'out', record)
    big = other(record, 'shapes_big', cls='a')
    file = record / 'rows' / 'shapes_big_cls_vits_scratch_seed0.json'
    kept = json.loads(file.read_text())
    kept['row']['seed'] = 7
    file.with_name('shapes_big_cls_vits_scratch_seed7.json').write_text(json.dumps(kept))
    assert Record(record).seeds() == [0] and big.seeds() == [0, 7]
    for results in (go(tmp_path / 'out', record), merged(record)):
        assert results['left_out'] == [] and len(results['rows']) == 3
    assert len(big.left_out({(0, suite().rows[0]): 'of now'})) == 4


def merged(record: Path) -> dict:
    merge_rows(record)
    return json.loads((record / 'results.json').read_text())


def test_rows_on_other_data_of_the_same_name_stay(fake, tmp_path, record):
    go(tmp_path / 'out', record)
    pets = other(record, 'pets', cls='a', det='x')
    pets.refuse_others('toy')
    kept = json.loads((record / 'rows' / 'pets_cls_vits_scratch_seed0.json').read_text())
    assert (kept['data'], kept['fingerprints']) == ('pets', {'cls': 'a'})  # det is not in it
    replace(pets, fingerprints={'cls': 'a', 'seg': 'c'}).refuse_others('toy')
    with refused('pets_cls_vitb_teacher_seed0.json is a row on other data called pets',
                 '(cls a, not b)', '--record', '--out'):  # fmt: skip
        replace(pets, fingerprints={'cls': 'b'}).refuse_others('toy')
    del kept['fingerprints']
    (record / 'rows' / 'pets_cls_vits_scratch_seed0.json').write_text(json.dumps(kept))
    with refused('pets_cls_vits_scratch_seed0.json', 'does not have the fingerprint of'):
        pets.refuse_others('toy')


def test_a_suite_on_other_data_of_the_same_name_does_not_begin(fake, tmp_path, record):
    toy = replace(suite(), record=str(record))

    def on(fingerprint: str) -> dict:
        source = Source('cls', tmp_path / 'pets', tmp_path, {}, lambda: fingerprint, {})
        data, out = OwnData((source,), 'pets'), tmp_path / fingerprint
        return run_suite(toy, toy.rows, (0,), out, say=lambda line: None, data=data)

    assert len(on('a')['rows']) == len(on('a')['rows']) == 3
    fake.ran()
    before = {file: file.read_bytes() for file in record.rglob('*.*')}
    with refused('is a row on other data called pets (cls a, not b)'):
        on('b')
    assert fake.ran() == []
    assert {file: file.read_bytes() for file in record.rglob('*.*')} == before


def test_rows_of_another_suite_are_not_written_over(fake, tmp_path, record):
    go(tmp_path / 'out', record)
    before = {file: file.read_bytes() for file in record.rglob('*.*')}
    with refused(str(record), 'the toy suite', '--record'):
        longer = replace(suite(), name='longer', record=str(record))
        run_suite(longer, longer.rows, (0,), tmp_path / 'longer', say=lambda line: None)
    assert {file: file.read_bytes() for file in record.rglob('*.*')} == before


def test_shapes_rows_say_nothing_of_data(fake, tmp_path, record):
    go(tmp_path / 'out', record)
    Record(record).refuse_others('toy')
    for file in (record / 'rows').glob('*.json'):
        assert not {'data', 'fingerprints'} & set(json.loads(file.read_text()))


def test_tasks_that_are_not_asked_for_are_not_left_out(fake, tmp_path, record):
    go(tmp_path / 'out', record)
    assert Record(record).left_out({(0, Row('det', 'g2sd', 'vits')): 'of now'}) == []


@pytest.mark.parametrize('lost', ['row', 'digest', 'environment', 'metrics', 'suite'])
def test_a_file_that_is_no_row_is_named(fake, tmp_path, record, lost):
    go(tmp_path / 'out', record)
    file = record / 'rows' / 'shapes_cls_vits_scratch_seed0.json'
    kept = json.loads(file.read_text())
    (kept['row'] if lost == 'metrics' else kept).pop(lost)
    file.write_text(json.dumps(kept))
    with refused('shapes_cls_vits_scratch_seed0.json is no row of a record', 'remove it'):
        go(tmp_path / 'out', record)


@pytest.mark.parametrize('name', ['mini', 'league'])
def test_committed_rows_count(name, monkeypatch):
    """Their names, what is in them, and their digests."""
    monkeypatch.chdir(ROOT)
    suite = with_given_files(SUITES[name])
    kept = Record(Path(suite.record or ''))
    digests = row_digests(suite, all_digests(suite, kept.seeds()))
    assert len(kept.find(digests)) == len(kept.files()) > 0
    assert kept.left_out(digests) == []


def test_failed_rows_are_not_kept(fake, tmp_path, record):
    fake.failing = 'vits_scratch_cls'
    results = go(tmp_path / 'out', record)
    assert 'error' in by_method(results)['scratch']
    assert not [name for name in names(record) if 'scratch' in name]
    assert 'error' in by_method(json.loads((record / 'results.json').read_text()))['scratch']


def test_the_report_of_a_record_merges_its_rows(fake, tmp_path, record, monkeypatch):
    toy = replace(suite(), record=str(record))
    monkeypatch.setitem(SUITES, 'toy', toy)
    go(tmp_path / 'out', record, ['teacher'])
    go(tmp_path / 'out', record, ['scratch'], seeds=(1,))
    (record / 'results.json').unlink()
    merge_rows(record)
    results = json.loads((record / 'results.json').read_text())
    assert [(row['method'], row['seed']) for row in results['rows']] == [
        ('teacher', 0), ('scratch', 1)
    ]
    assert Record(tmp_path / 'none').seeds() == []


def test_rows_of_a_suite_that_is_not_known_are_named(fake, tmp_path, record):
    go(tmp_path / 'out', record, ['scratch'])  # of a suite of this test alone
    with refused(str(record / 'rows' / 'shapes_cls_vits_scratch_seed0.json'), *SUITES):
        merge_rows(record)


def test_a_records_report_needs_nothing_but_its_folder(fake, tmp_path, record, monkeypatch):
    monkeypatch.setitem(SUITES, 'toy', replace(suite(), record=str(record)))
    monkeypatch.chdir(tmp_path)
    go(tmp_path / 'out', record)

    def sections(folder: Path) -> list[str]:
        _report(folder)
        page = (folder / 'report.html').read_text()
        return re.findall('<section id="(predictions|analyses)">', page)

    assert sections(record) == []
    pictures = tmp_path / 'work_dirs' / 'toy' / 'pictures'  # where the suite was run
    (pictures / 'det' / 'input').mkdir(parents=True)
    (pictures / 'det' / 'input' / 'a.jpg').write_bytes(b'x')
    assert sections(record) == ['predictions']
    assert sections(tmp_path / 'out') == []  # a folder of runs shows its own alone
    pictures.rename(record / 'pictures')
    (record / 'analysis').mkdir()
    cka = {'analysis': 'cka', 'images': 4, 'command': 'c', 'cka': {'g2sd': [[1.0]]}}
    (record / 'analysis' / 'cka.json').write_text(json.dumps(cka))
    assert sections(record) == ['predictions', 'analyses']


def test_the_mini_matrix_is_whole():
    methods = ['teacher', 'scratch', 'mae_student', 'single_stage', 'g2sd_nosd', 'g2sd']
    assert [(r.task, r.method) for r in MINI.rows if r.table == 'main'] == [
        (task, method) for task in ('cls', 'det', 'seg', 'depth') for method in methods
    ]
    assert {r.task for r in MINI.select()} == {'cls', 'det', 'seg'}, 'depth if it is asked for'
    few = [r for r in MINI.rows if r.table == 'labels']
    assert [(r.task, r.method, r.table, r.setting) for r in few] == [
        ('cls', method, 'labels', '10 %') for method in methods[1:]
    ]
    assert MINI.seeds == (0, 1, 2)
    assert MINI.record == 'docs/results/mini'


def judged_by(data: Path) -> Suite:
    """The toy suite whose rows are tested on data of a config of their own."""
    toy = suite()
    return replace(toy, rows=tuple(replace(row, data=str(data)) for row in toy.rows))


@pytest.fixture
def other_data(monkeypatch, tmp_path) -> Path:
    """A config of test data; evaluations give as many percent as it has images."""
    path = tmp_path / 'other.py'
    path.write_text('shapes = dict(val=70)\n')

    def shell(command, log, **how):
        words = shlex.split(command)
        data, out = (words[words.index(option) + 1] for option in ('--data', '--out'))
        assert Path(words[3]).is_file() and Path(out).name == 'test_other.json'
        metrics = {'accuracy/top1': float(Config.fromfile(data).shapes.val)}
        Path(out).write_text(json.dumps({'metrics': metrics}))

    monkeypatch.setattr(launch_module, 'run_shell', shell)
    return path


def test_rows_are_tested_on_the_data_that_they_name(fake, tmp_path, record, other_data):
    said = []

    def run() -> dict:
        toy = replace(judged_by(other_data), record=str(record))
        return run_suite(toy, toy.rows, (0,), tmp_path / 'out', say=said.append)

    results = run()
    for row in results['rows']:
        assert row['metrics'] == {'top1': 70.0}, 'not the 50 of the run itself'
        assert row['data'] == str(other_data)
    assert said[-1].endswith('top1 70')
    fake.ran()
    other_data.write_text('shapes = dict(val=80)\n')
    _read.cache_clear()  # configs do not change while a suite runs
    assert [row['metrics']['top1'] for row in run()['rows']] == [80.0] * 3
    assert fake.ran() == [], 'no run is trained again for other test data'


def test_a_row_whose_evaluation_fails_is_not_kept(fake, tmp_path, record, other_data, monkeypatch):
    def shell(*_, **__):
        raise RunError('no data\nat val')

    monkeypatch.setattr(launch_module, 'run_shell', shell)
    toy = replace(judged_by(other_data), record=str(record))
    results = run_suite(toy, toy.rows[2:], (0,), tmp_path / 'out', say=lambda line: None)
    assert by_method(results)['scratch']['error'] == 'no data at val'
    assert not (record / 'rows').exists()


def test_the_mini_rows_are_judged_by_more_than_the_runs_validate_on():
    for row in (row for row in MINI.rows if not row.probe):
        validated, tested = load_config(MINI.step(row.step).config), load_config(row.data)
        assert tested.shapes.val >= 5 * validated.shapes.val
        same = ('task', 'size', 'seed')  # so that the scenes are drawn by the same rules
        assert [tested.shapes[key] for key in same] == [validated.shapes[key] for key in same]
        folder = '_{size}px_{train}+{val}_s{seed}'.format(**{'size': 64, **tested.shapes})
        assert folder in tested.test_dataloader.dataset.data_root
        assert tested.test_dataloader.dataset.pipeline == validated.test_dataloader.dataset.pipeline
        assert tested.test_evaluator.type == validated.test_evaluator.type
        assert folder in tested.test_evaluator.get('ann_file', folder)


def test_a_figure_that_is_no_number_is_kept_and_reported(fake, tmp_path, record, monkeypatch):
    """The row ended; its log, its file, the table and the page say what came out."""

    def train(step, seed, runs, launcher, resume, **how):
        log = runs / step.name / '1' / 'vis_data' / 'scalars.json'
        log.parent.mkdir(parents=True)
        log.write_text('{"loss": NaN, "iter": 1}\n{"accuracy/top1": NaN, "step": 1}')
        result = fake(step, seed, runs, launcher, resume)
        bad = step.name == 'g2sd_vits_cls' and seed == 0
        return {**result, 'metrics': {'top1': float('nan') if bad else 50.0 + seed}}

    monkeypatch.setattr(run_module, 'launch', train)
    results = go(tmp_path / 'out', record, seeds=(0, 1))
    assert len(results['rows']) == 6
    log = (record / 'rows' / 'shapes_cls_vits_g2sd_seed0.log').read_text().splitlines()
    assert log == ['step 1: loss nan', 'step 1: accuracy/top1 nan']
    fake.ran()
    again = go(tmp_path / 'out', record, seeds=(0, 1))
    assert fake.ran() == []
    page = render(again, record)
    assert 'cls: top1 of g2sd is not a number in seed 0' in page
    assert '51.00 (1 of 2 seeds, 1 not a number)' in page
