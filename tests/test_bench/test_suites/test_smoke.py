"""Smoke runs: the same suite, two updates a run, and nothing of it among the real rows."""

from __future__ import annotations

import json
import shlex

import pytest

from g2sd_mm.bench.suites.budget import raw_config, work_of
from g2sd_mm.bench.suites.catalogue import MINI
from g2sd_mm.bench.suites.data import find_data
from g2sd_mm.bench.suites.derived import IMAGES, UPDATES, smoke
from g2sd_mm.bench.suites.digests import all_digests

from ...helpers import small_masks
from ...helpers.toys import image_folder, run_tool
from .test_handover import coco

SMOKE = smoke(MINI)


def configs(suite) -> dict:
    return {step.name: raw_config(step.config, step.options) for step in suite.steps}


def test_every_run_has_two_updates_and_all_else_as_it_was():
    real = configs(MINI)
    for name, cfg in configs(SMOKE).items():
        work, before = work_of(cfg), work_of(real[name])
        assert work.updates == UPDATES, name
        assert (work.batch, cfg.train_cfg.get('type')) == (
            before.batch, real[name].train_cfg.get('type')
        )
        assert cfg.param_scheduler[0].warmup == 0 < real[name].param_scheduler[0].warmup
        assert cfg.param_scheduler[0].type == real[name].param_scheduler[0].type
        if cfg.get('val_dataloader'):
            end = cfg.train_cfg.get('max_epochs') or cfg.train_cfg.max_iters
            assert cfg.train_cfg.val_interval == end, name  # judged once, at the end
            assert cfg.val_dataloader.dataset.indices == IMAGES


def test_its_rows_are_kept_apart():
    assert (SMOKE.rows, SMOKE.seeds) == (MINI.on_own_test_data().rows, (0,))
    assert SMOKE.name == 'mini_smoke'  # and so its folder
    assert SMOKE.record is None
    assert 'mean nothing' in SMOKE.note and MINI.note == ''
    assert not set(all_digests(SMOKE, [0]).values()) & set(all_digests(MINI, [0, 1, 2]).values())


def reproduce(*arguments: str, cwd):
    return run_tool('reproduce.py', *arguments, cwd=cwd, timeout=1500)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [(('--suite', 'demo', '--smoke'), '--smoke is for --suite mini'),
     (('--suite', 'mini', '--smoke', '--record', 'x'), 'leave out --record'),
     (('--suite', 'mini', '--smoke', '--out', 'real'),
      'has the results of mini on flowers, not of mini_smoke: give another folder by --out')],
)
def test_what_would_mix_them_is_refused(tmp_path, arguments, message):
    (tmp_path / 'real').mkdir()
    there = {'suite': 'mini', 'data': 'flowers', 'rows': []}
    (tmp_path / 'real' / 'results.json').write_text(json.dumps(there))
    done = reproduce(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr and len(done.stderr.splitlines()) == 1


def test_its_commands_are_printed(tmp_path):
    for split in ('train', 'val'):
        image_folder(tmp_path / 'pictures' / split, classes=2, each=35)
    arguments = ('--suite', 'mini', '--smoke', '--dry-run', '--rows', 'scratch', 'mae_student')
    arguments = (*arguments, '--data-root', 'pictures')
    done = reproduce(*arguments, '--tables', 'main', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    commands = [line for line in lines if not line.startswith('#')]
    assert lines[0].startswith('# vits_scratch_cls: 0.9 passes over 70 images of /')
    assert len(commands) == 3 and len(lines) == 3 + 4
    for line in commands:
        assert ' --seed 0 --runs work_dirs/mini_smoke_pictures/seed0 ' in line
        config = tmp_path / shlex.split(line)[2]
        assert "'samples': 128" in config.read_text()
    done = reproduce(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and 'which needs 631' in done.stderr


@pytest.mark.slow
def test_a_smoke_run_on_data_of_ones_own(tmp_path):
    """The command as a person types it: all rows, a report, and the second time nothing to do."""
    data = tmp_path / 'data'
    for split, each in (('train', 110), ('val', 4)):
        image_folder(data / 'pictures' / split, classes=6, each=each, size=70)
    for split in ('train2017', 'val2017'):
        coco(data / 'objects', split)
    small_masks.write_data(data / 'scenes', labels=7)
    for part in ('images', 'annotations'):
        (data / 'scenes' / part / 'training').rename(data / 'scenes' / part / 'train')
        (data / 'scenes' / part / 'validation').rename(data / 'scenes' / part / 'val')
    folders = [str(data / name) for name in ('pictures', 'objects', 'scenes')]
    arguments = ('--suite', 'mini', '--smoke', '--jobs', '2', '--data-root', *folders)
    done = reproduce(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'its figures mean nothing' in done.stdout
    folder = tmp_path / 'work_dirs' / 'mini_smoke_pictures'
    results = json.loads((folder / 'results.json').read_text())
    suite = find_data(folders).apply(MINI)
    assert len(results['rows']) == len(suite.select())
    assert not [row for row in results['rows'] if 'error' in row]
    page = (folder / 'report.html').read_text()
    assert 'its figures mean nothing' in page
    for section in ('results', 'labels', 'curves', 'predictions', 'runs'):
        assert f'<section id="{section}">' in page
    assert sorted(path.name for path in tmp_path.iterdir()) == ['data', 'work_dirs']
    again = reproduce(*arguments, cwd=tmp_path)
    assert again.stdout.count('done before') == len(list(suite.steps_of(suite.select())))
